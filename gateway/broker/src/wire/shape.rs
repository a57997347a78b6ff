//! Checks the shape of a request before it is decoded.
//!
//! The decoder of `kafka-protocol` reserves memory for as many elements as an array claims to have, so a frame of a few
//! bytes could ask for gigabytes. Here every length and count is first walked through: what passes really is there.

/// A part of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// So many bytes.
    Fixed(usize),
    /// A string, or none.
    Text,
    /// Bytes, or none; record batches too.
    Bytes,
    /// Elements of these fields, then their tagged fields where the version has them; or none.
    Array(&'static [Field]),
    /// Strings or numbers without tagged fields of their own.
    Plain(&'static Field),
    /// Present from this version on.
    From(i16, &'static Field),
    /// Present up to this version.
    Until(i16, &'static Field),
}

/// The frame does not have the shape of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request is cut, or a length in it is wrong")]
pub(crate) struct Malformed;

/// Walks `fields` of a request in `version`; what follows them in `bytes` is not looked at.
pub(crate) fn check(bytes: &[u8], fields: &[Field], version: i16, flexible: bool) -> Result<(), Malformed> {
    let mut walk = Walk { rest: bytes, version, flexible };
    walk.fields(fields)?;
    walk.tags()
}

/// Checks a request header; `flexible` headers end with tagged fields.
pub(crate) fn check_header(bytes: &[u8], flexible: bool) -> Result<(), Malformed> {
    let mut walk = Walk { rest: bytes, version: 0, flexible: false };
    walk.fields(&[Field::Fixed(8), Field::Text])?;
    walk.flexible = flexible;
    walk.tags()
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &[Field]) -> Result<(), Malformed> {
        fields.iter().try_for_each(|field| self.field(field))
    }

    fn field(&mut self, field: &Field) -> Result<(), Malformed> {
        match field {
            Field::Fixed(bytes) => self.skip(*bytes),
            Field::Text => {
                let bytes = if self.flexible { self.compact()? } else { self.short()? };
                self.skip(bytes)
            }
            Field::Bytes => {
                let bytes = if self.flexible { self.compact()? } else { self.long()? };
                self.skip(bytes)
            }
            Field::Array(fields) => self.repeat(|walk| {
                walk.fields(fields)?;
                walk.tags()
            }),
            Field::Plain(field) => self.repeat(|walk| walk.field(field)),
            Field::From(version, field) if self.version >= *version => self.field(field),
            Field::Until(version, field) if self.version <= *version => self.field(field),
            Field::From(..) | Field::Until(..) => Ok(()),
        }
    }

    fn repeat(&mut self, element: impl Fn(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let count = if self.flexible { self.compact()? } else { self.long()? };
        for _ in 0..count {
            let before = self.rest.len();
            element(self)?;
            // Nothing in the protocol has elements of no bytes; a count of them would cost time for nothing.
            if self.rest.len() == before {
                return Err(Malformed);
            }
        }
        Ok(())
    }

    fn tags(&mut self) -> Result<(), Malformed> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let bytes = self.varint()?;
            self.skip(bytes)?;
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(bytes..).ok_or(Malformed)?;
        Ok(())
    }

    /// A length of two bytes; -1 stands for none.
    fn short(&mut self) -> Result<usize, Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<2>().ok_or(Malformed)?;
        self.rest = rest;
        length(i64::from(i16::from_be_bytes(*head)))
    }

    /// A length of four bytes; -1 stands for none.
    fn long(&mut self) -> Result<usize, Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<4>().ok_or(Malformed)?;
        self.rest = rest;
        length(i64::from(i32::from_be_bytes(*head)))
    }

    /// A length plus one; 0 stands for none.
    fn compact(&mut self) -> Result<usize, Malformed> {
        Ok(self.varint()?.saturating_sub(1))
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0usize;
        for shift in (0..35).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value > u32::MAX as usize { Err(Malformed) } else { Ok(value) };
            }
        }
        Err(Malformed)
    }
}

fn length(value: i64) -> Result<usize, Malformed> {
    match value {
        -1 => Ok(0),
        value => usize::try_from(value).map_err(|_| Malformed),
    }
}

#[cfg(test)]
#[path = "shape_tests.rs"]
mod tests;
