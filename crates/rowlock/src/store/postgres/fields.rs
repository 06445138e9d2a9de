//! The fields of a value in binary form, from its first byte onwards.

/// The rest of the value. Each field is `None` if the value ends too early.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

macro_rules! numbers {
    ($($name:ident: $number:ty),*) => {
        $(pub(super) fn $name(&mut self) -> Option<$number> {
            let (field, rest) = self.0.split_first_chunk()?;
            self.0 = rest;
            Some(<$number>::from_be_bytes(*field))
        })*
    };
}

impl<'a> Fields<'a> {
    numbers!(u8: u8, i16: i16, u16: u16, i32: i32, u32: u32, i64: i64, u64: u64, f32: f32, f64: f64);

    pub(super) fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    /// A number that counts or measures.
    pub(super) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.i32()?).ok()
    }

    /// A value with its length in front of it; `Some(None)` for null.
    pub(super) fn value(&mut self) -> Option<Option<&'a [u8]>> {
        match self.i32()? {
            -1 => Some(None),
            length => self.bytes(usize::try_from(length).ok()?).map(Some),
        }
    }

    /// A text that ends in a zero byte.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(self.bytes(end)?).ok()?;
        self.u8()?;
        Some(text)
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}
