//! What a pipeline's table needs, and what a given table lacks. The DDL itself is SQL, in `store/<dialect>/sql`.

mod columns;
mod references;
mod samples;

pub(crate) use self::columns::{ColumnKind, FoundColumn};
pub(crate) use self::references::Reference;
pub(crate) use self::samples::ForbiddenValues;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use self::samples::samples;
use crate::pipeline::{Existing, Pipeline, Role, Status};
use crate::{Error, Result};

/// The version of Rowlock's own tables that this library creates and knows.
pub(crate) const SCHEMA_VERSION: i32 = 1;

/// What is known of the pipeline's table.
#[derive(Debug, Default)]
pub(crate) struct TableFacts {
    /// Its columns; empty if the table does not exist.
    pub(crate) columns: Vec<FoundColumn>,
    /// Whether it has rows. Asked only if there is no status column.
    pub(crate) has_rows: bool,
    /// The status of a row that is inserted without one; `None` for null.
    pub(crate) default_word: Option<String>,
    /// The values that its constraints on a single column refuse.
    pub(crate) forbidden: Vec<ForbiddenValues>,
    /// Its foreign keys on a single column that moves write.
    pub(crate) references: Vec<Reference>,
    /// Why the relation as a whole cannot be a queue, in sentences: only one dialect knows this.
    pub(crate) unusable: Vec<String>,
    /// The statement that changes the default of the status column, up to the value; `None` if the table has to be
    /// created anew.
    pub(crate) set_default: Option<String>,
}

impl TableFacts {
    /// The roles for which the table has no column.
    pub(crate) fn missing_roles(&self, pipeline: &Pipeline) -> Vec<Role> {
        pipeline.roles().filter(|role| self.column(pipeline.columns().name(*role)).is_none()).collect()
    }

    /// Whether every column is there that the pipeline reads.
    pub(crate) fn has_every_column(&self, pipeline: &Pipeline) -> bool {
        !self.columns.is_empty() && self.missing_roles(pipeline).is_empty() && !self.lacks_own_state(pipeline)
    }

    /// Whether the column for states that the table cannot say is missing.
    pub(crate) fn lacks_own_state(&self, pipeline: &Pipeline) -> bool {
        pipeline.has_own_state() && self.column(pipeline.columns().own_state()).is_none()
    }

    /// Why the table cannot be used, whatever `prepare` adds to it, in sentences.
    pub(crate) fn problems(&self, pipeline: &Pipeline) -> Vec<String> {
        let mut problems = self.unusable.clone();
        if self.columns.is_empty() {
            if !pipeline.has_plain_status() {
                problems.push(
                    "the table is missing, and prepare makes only tables whose status is one text: create it first"
                        .to_owned(),
                );
            }
            return problems;
        }
        for key in pipeline.key_columns() {
            match self.column(key) {
                None => problems.push(format!("there is no key column {key:?}: name an existing one")),
                Some(column) => problems.extend(column.problems_as_key(pipeline)),
            }
        }
        for column in pipeline.other_written_columns().filter(|column| self.column(column).is_none()) {
            problems.push(format!("there is no column {column:?}, which the pipeline writes: name an existing one"));
        }
        for role in pipeline.roles() {
            let name = pipeline.columns().name(role);
            match self.column(name) {
                None if pipeline.columns().is_mapped(role) => problems.push(format!(
                    "there is no column {name:?}, to which the pipeline maps {role:?}: name an existing one, or leave \
                     the mapping out, and prepare adds {:?}",
                    role.default_column()
                )),
                None if role == Role::Status => problems.extend(self.untold_rows(pipeline)),
                None => {}
                Some(column) => {
                    problems.extend(column.problems_as(pipeline, role));
                    if role == Role::Status {
                        problems.extend(self.other_default(pipeline, column));
                    }
                }
            }
        }
        problems.extend(self.forbidden.iter().filter_map(|forbidden| forbidden.problem(pipeline)));
        problems.extend(self.references.iter().filter_map(|reference| reference.problem(pipeline)));
        problems
    }

    /// What `prepare` would add, in sentences.
    pub(crate) fn lacking(&self, pipeline: &Pipeline) -> Vec<String> {
        let missing = self.missing_roles(pipeline).into_iter();
        missing
            .map(|role| (role, pipeline.columns().name(role)))
            .filter(|(role, _)| !pipeline.columns().is_mapped(*role))
            .map(|(role, name)| format!("there is no column {name:?} ({role:?}): run prepare"))
            .chain(self.lacks_own_state(pipeline).then(|| {
                format!("there is no column {:?}, which says some states: run prepare", pipeline.columns().own_state())
            }))
            .collect()
    }

    /// The owner has to say what existing rows become: most are done already.
    fn untold_rows(&self, pipeline: &Pipeline) -> Option<String> {
        if !self.has_rows || pipeline.existing_rows().is_some() {
            return None;
        }
        let words = [Existing::Ready, Existing::Succeeded].map(|existing| existing.word(pipeline));
        Some(format!(
            "the table has rows, but no status column {:?}: say what they are with existing_rows of the pipeline's \
             builder: Existing::Ready makes them all work ({:?}), Existing::Succeeded says that they are done ({:?})",
            pipeline.columns().name(Role::Status),
            words[0],
            words[1]
        ))
    }

    /// A row that is inserted without a status would be no item, and no worker would take it.
    fn other_default(&self, pipeline: &Pipeline, column: &FoundColumn) -> Option<String> {
        let ready = pipeline.stages()[0].ready_word();
        let usable = column.kinds.contains(&ColumnKind::Text) && !column.is_generated;
        let words = pipeline.stages()[0].ready().words();
        let is_ready = words.iter().any(|word| word.text() == self.default_word.as_deref());
        if pipeline.allows_other_default() || !usable || is_ready {
            return None;
        }
        let found = match &self.default_word {
            Some(word) => format!("the default {word:?}"),
            None => "no default".to_owned(),
        };
        let remedy = match &self.set_default {
            Some(statement) => format!("`{statement} '{}'`", ready.replace('\'', "''")),
            None => "make the table anew with that default".to_owned(),
        };
        Some(format!(
            "the column {:?} (Status) has {found}, and not the first ready word {ready:?}, so that a row which is \
             inserted without a status is no item: {remedy}, or call without_ready_default of the pipeline's builder",
            column.name
        ))
    }

    pub(crate) fn column(&self, name: &str) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.is_called(name))
    }
}

/// Says that two rows may share a key of several columns: one of them would be moved with the other.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) fn ambiguous_key(columns: &[String]) -> String {
    format!(
        "the key columns {columns:?} are not unique together: add a unique index on them, not deferrable, without a \
         condition"
    )
}

/// All problems of a table as one error.
pub(crate) fn refused(pipeline: &Pipeline, problems: &[String]) -> Error {
    Error::Schema { table: pipeline.table().to_string(), problem: problems.join("; ") }
}

/// Rows that `inspect` reports because no worker takes them up, or because another program may be working on them.
#[derive(Debug, Default)]
pub(crate) struct StrayRows {
    /// Words that the pipeline does not know, with how many rows have each; `None` is null.
    pub(crate) unknown: Vec<(Option<String>, i64)>,
    /// Rows in progress without a token.
    pub(crate) unleased: i64,
    /// How far the rows were counted.
    pub(crate) limit: i64,
}

impl StrayRows {
    /// The remarks, as sentences.
    pub(crate) fn remarks(&self, pipeline: &Pipeline) -> Vec<String> {
        let status = pipeline.columns().name(Role::Status);
        let rows = |count: i64| match (count, count >= self.limit) {
            (1, _) => "1 row".to_owned(),
            (count, false) => format!("{count} rows"),
            (_, true) => format!("at least {} rows", self.limit),
        };
        let mut remarks: Vec<String> = self
            .unknown
            .iter()
            .map(|(word, count)| {
                let word = word.as_ref().map_or("null".to_owned(), |word| format!("{word:?}"));
                let verb = if *count == 1 { "has" } else { "have" };
                format!(
                    "{} {verb} {word} in {status:?}, which is no word of the pipeline: no worker takes them up; give \
                     them one of its words, or the pipeline theirs",
                    rows(*count)
                )
            })
            .collect();
        if self.unleased > 0 {
            let words = pipeline.statuses().filter(|status| Status::is_in_progress(*status));
            let words: Vec<&str> = words.map(|status| pipeline.word(status)).collect();
            remarks.push(format!(
                "{} in progress ({words:?}) under no lease of Rowlock's: a sweep takes them back when their heartbeat \
                 is older than {:?} or missing; stop whoever else works on them",
                rows(self.unleased),
                pipeline.stale_after()
            ));
        }
        remarks
    }
}

/// Rejects the tables of a newer library.
pub(crate) fn check_version(found: &str) -> Result<()> {
    match found.parse::<i32>() {
        Ok(found) if found > SCHEMA_VERSION => Err(Error::SchemaTooNew { found, known: SCHEMA_VERSION }),
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Schema {
            table: "rowlock_meta".to_owned(),
            problem: format!("its schema_version is {found:?}, which is not a number"),
        }),
    }
}
