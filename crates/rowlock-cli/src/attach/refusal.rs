//! The library's sentences in the words of the file: its reader knows no builder.

/// What the library calls something, and what the file does.
const WORDS: [(&str, &str); 9] = [
    (
        "say what they are with existing_rows of the pipeline's builder: Existing::Ready makes them all work",
        "say what they are by `existing = …` in the file or by --existing: ready makes them all work",
    ),
    (", Existing::Succeeded says that they are done", ", succeeded says that they are done"),
    (
        "or call without_ready_default of the pipeline's builder",
        "or write `without_ready_default = true` into the file",
    ),
    (
        "say its form to the pipeline (column_as, or status_type), change its type",
        "say its form in the file (`{ name = …, as = … }`), change its type",
    ),
    (
        "say that they are seconds or milliseconds (column_as with Form::EpochSeconds or Form::EpochMillis)",
        "say that they are seconds or milliseconds (`as = \"epoch_s\"` or `as = \"epoch_ms\"`)",
    ),
    ("to which the pipeline maps", "to which the file maps"),
    ("give the pipeline the key's type", "name the key's type in the file (`key_type`)"),
    ("and prepare makes only tables", "and attach makes only tables"),
    (": run prepare", ": run attach"),
];

/// A sentence of the library as the reader of a file understands it.
pub(super) fn in_words_of_file(sentence: &str) -> String {
    WORDS.iter().fold(sentence.to_owned(), |sentence, (library, file)| sentence.replace(library, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_in_words_that_the_file_has() {
        let sentence = "the table has rows: say what they are with existing_rows of the pipeline's builder: \
                        Existing::Ready makes them all work (\"PENDING\"), Existing::Succeeded says that they are done";
        assert_eq!(
            in_words_of_file(sentence),
            "the table has rows: say what they are by `existing = …` in the file or by --existing: ready makes them \
             all work (\"PENDING\"), succeeded says that they are done"
        );
    }
}
