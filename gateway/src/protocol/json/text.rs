//! Strings and numbers: where they end, and what they say.

use std::borrow::Cow;

use super::Fault;

/// Reads the string whose opening quote stands at `open`: its text, and the place after its closing quote.
pub(super) fn string(text: &str, open: usize) -> Result<(Cow<'_, str>, usize), (Fault, usize)> {
    let bytes = text.as_bytes();
    let mut from = open + 1;
    let mut at = from + plain(&bytes[from..]);
    if bytes.get(at) == Some(&b'"') {
        return Ok((Cow::Borrowed(&text[from..at]), at + 1));
    }
    let mut resolved = String::new();
    loop {
        resolved.push_str(&text[from..at]);
        match bytes.get(at) {
            Some(b'"') => return Ok((Cow::Owned(resolved), at + 1)),
            Some(b'\\') => from = escape(bytes, at, &mut resolved)?,
            Some(_) => return Err((Fault::Control, at)),
            None => return Err((Fault::End, at)),
        }
        at = from + plain(&bytes[from..]);
    }
}

/// Resolves the escape at `at` and returns the place after it.
fn escape(bytes: &[u8], at: usize, into: &mut String) -> Result<usize, (Fault, usize)> {
    let character = match bytes.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(bytes, at, into),
        Some(_) => return Err((Fault::Escape, at)),
        None => return Err((Fault::End, at)),
    };
    into.push(character);
    Ok(at + 2)
}

fn unicode(bytes: &[u8], at: usize, into: &mut String) -> Result<usize, (Fault, usize)> {
    let high = hex(bytes, at + 2)?;
    let (code, end) = match high {
        0xD800..=0xDBFF => {
            if bytes.get(at + 6) != Some(&b'\\') || bytes.get(at + 7) != Some(&b'u') {
                return Err((Fault::Surrogate, at));
            }
            let low = hex(bytes, at + 8)?;
            if !(0xDC00..=0xDFFF).contains(&low) {
                return Err((Fault::Surrogate, at));
            }
            (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), at + 12)
        }
        code => (code, at + 6),
    };
    into.push(char::from_u32(code).ok_or((Fault::Surrogate, at))?);
    Ok(end)
}

fn hex(bytes: &[u8], at: usize) -> Result<u32, (Fault, usize)> {
    let digits = bytes.get(at..at + 4).ok_or((Fault::Escape, at))?;
    digits.iter().try_fold(0, |code, byte| {
        let digit = char::from(*byte).to_digit(16).ok_or((Fault::Escape, at))?;
        Ok(code << 4 | digit)
    })
}

/// Bytes until the first quote, backslash or control character: eight at a time.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*chunk);
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let slash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
        let hits = quote | slash | control;
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = &bytes[at.min(bytes.len())..];
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1F)).unwrap_or(rest.len())
}

/// The end of the number at `start`, and whether it has neither fraction nor exponent; or where it goes wrong.
pub(super) fn number(bytes: &[u8], start: usize) -> Result<(usize, bool), usize> {
    let digits = |from: usize| {
        bytes.get(from..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut at = start + usize::from(bytes.get(start) == Some(&b'-'));
    match digits(at) {
        0 => return Err(at),
        1 => at += 1,
        _ if bytes[at] == b'0' => return Err(at),
        many => at += many,
    }
    let mut integer = true;
    if bytes.get(at) == Some(&b'.') {
        integer = false;
        match digits(at + 1) {
            0 => return Err(at + 1),
            many => at += 1 + many,
        }
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        integer = false;
        at += 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        match digits(at) {
            0 => return Err(at),
            many => at += many,
        }
    }
    Ok((at, integer))
}
