use proptest::prelude::*;
use serde_json::json;

use super::*;

fn limits() -> ReadLimits {
    ReadLimits::default()
}

fn fault(text: &[u8]) -> Fault {
    value(text, &limits()).expect_err("refused").fault
}

#[test]
fn what_is_refused_and_where() {
    let rows: &[(&[u8], &str)] = &[
        (b"", "line 1, column 1: the text is empty"),
        (b"{", "line 1, column 2: the text ends before the document does"),
        (b"\xEF\xBB\xBF{}", "line 1, column 1: the text begins with a byte order mark; send plain UTF-8"),
        (b"{\"a\":\"\xff\"}", "line 1, column 7: the text is not UTF-8"),
        (b"{} {}", "line 1, column 4: something follows the end of the document"),
        (b"{}\0", "line 1, column 3: something follows the end of the document"),
        (b"{\"a\":1,\n\"a\":2}", "line 2, column 1: member `a` stands twice in one object"),
        (br#"{"p":{"a":1,"\u0061":2}}"#, "line 1, column 13, in /p: member `a` stands twice in one object"),
        (br#"{"a/b":[0,{"c":tru}]}"#, "line 1, column 16, in /a~1b/1/c: a value is expected here"),
        (b"[1,]", "line 1, column 4, in /1: a value is expected here"),
        (b"{\"a\":1,}", "line 1, column 8: a member name in double quotes is expected here"),
        (b"[01]", "line 1, column 2, in /0: a number is not written as JSON writes numbers"),
        (b"[1e999]", "line 1, column 2, in /0: a number is beyond the range of a 64-bit float"),
        (b"\"\\ud800\"", "line 1, column 2: a string holds half of a surrogate pair"),
        (b"\"\\ud800\\u0041\"", "line 1, column 2: a string holds half of a surrogate pair"),
        (b"\"\\udc00\"", "line 1, column 2: a string holds half of a surrogate pair"),
        (b"\"\\x41\"", "line 1, column 2: an escape in a string is not valid"),
        (b"\"a\nb\"", "line 1, column 3: a string holds a control character; write it as an escape"),
        (b"'a'", "line 1, column 1: a value is expected here"),
        (b"NaN", "line 1, column 1: a value is expected here"),
    ];
    for (text, said) in rows {
        let shown = String::from_utf8_lossy(text);
        assert_eq!(value(text, &limits()).expect_err(&shown).to_string(), *said, "{shown}");
    }
}

#[test]
fn depth_is_bounded_at_the_limit() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
        value(nested(64).as_bytes(), &limits()).expect("64 levels are taken");
        assert_eq!(fault(nested(65).as_bytes()), Fault::Depth(64));
        assert_eq!(fault(open.repeat(100_000).as_bytes()), Fault::Depth(64));
    }
}

#[test]
fn values_are_bounded_at_the_limit() {
    let small = ReadLimits { values: 10, ..limits() };
    value(b"[1,2,3,4,5,6,7,8,9]", &small).expect("ten values are taken");
    let refused = value(b"[1,2,3,4,5,6,7,8,9,10]", &small).expect_err("eleven are not");
    assert_eq!(refused.fault, Fault::Values(10));
    assert_eq!(value(b"[{},{}]", &small).expect_err("objects count more").fault, Fault::Values(10));
}

#[test]
fn strings_are_resolved() {
    let text = r#"["a\"\\\/\b\f\n\r\t","\u00e9\ud83d\ude00é😀","12345678\n12345678",""]"#;
    let expected: Value = serde_json::from_str(text).unwrap();
    assert_eq!(value(text.as_bytes(), &limits()).unwrap(), expected);
}

#[test]
fn the_place_of_a_member_is_known() {
    let text = br#" { "id" : 1 , "params" : {"a": [1.50]} } "#;
    let Document::Object(object) = read(text, &limits()).unwrap() else { panic!("an object") };
    assert_eq!(&text[object.span("params").unwrap()], br#"{"a": [1.50]}"#);
    assert_eq!(&text[object.span("id").unwrap()], b"1");
    assert_eq!(object.span("method"), None);
}

/// Writes JSON documents in all the ways that JSON allows, the same for the same seed (xorshift64*).
struct Writer {
    state: u64,
    text: String,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, text: String::new() }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }

    fn one_of(&mut self, choices: &[&str]) {
        let choice = self.below(choices.len());
        self.text.push_str(choices[choice]);
    }

    fn blank(&mut self) {
        if self.below(6) == 0 {
            self.one_of(&[" ", "\n", "\t", "\r\n  "]);
        }
    }

    fn string(&mut self) {
        self.text.push('"');
        for _ in 0..self.below(4) {
            match self.below(6) {
                0 => self.one_of(&[
                    "\\n",
                    "\\/",
                    "\\u0061",
                    "\\uD83D\\uDE00",
                    "\\\"",
                    "\\\\",
                    "\\u00E9",
                    "\\ufffF",
                    "\\b",
                ]),
                1 => self.one_of(&["é", "😀", "\u{7f}", "\u{2028}", "漢字", "\u{fffd}"]),
                2 => self.one_of(&[
                    "a plain run of text that is longer than a word",
                    "01234567",
                    "0123456\u{e9}",
                ]),
                _ => self.one_of(&["a", "b", "", "{", "]", ",", ":", "'", "null"]),
            }
        }
        self.text.push('"');
    }

    fn digits(&mut self, most: usize) {
        for _ in 0..=self.below(most) {
            self.one_of(&["0", "1", "2", "5", "8", "9"]);
        }
    }

    fn number(&mut self) {
        self.one_of(&["", "-"]);
        match self.below(4) {
            0 => self.text.push('0'),
            1 => self.one_of(&["18446744073709551615", "9223372036854775808", "9223372036854775807"]),
            _ => {
                self.one_of(&["1", "3", "7", "9"]);
                self.digits(22);
            }
        }
        if self.below(3) == 0 {
            self.text.push('.');
            self.digits(20);
        }
        if self.below(4) == 0 {
            self.one_of(&["e", "E", "e+", "E-"]);
            self.digits(3);
        }
    }

    fn value(&mut self, depth: usize) {
        self.blank();
        match self.below(if depth == 0 { 5 } else { 9 }) {
            0 => self.one_of(&["null", "true", "false"]),
            1 | 2 => self.number(),
            3 | 4 => self.string(),
            5 | 6 => self.list('[', ']', |writer| writer.value(depth - 1)),
            _ => self.list('{', '}', |writer| {
                writer.string();
                writer.blank();
                writer.text.push(':');
                writer.value(depth - 1);
            }),
        }
        self.blank();
    }

    fn list(&mut self, open: char, close: char, element: impl Fn(&mut Self)) {
        self.text.push(open);
        let count = self.below(4);
        for index in 0..count {
            if index > 0 {
                self.text.push(',');
            }
            self.blank();
            element(self);
        }
        self.blank();
        self.text.push(close);
    }

    /// The document with one byte changed, dropped, put in, or everything from it on cut off.
    fn damaged(&mut self) -> Vec<u8> {
        const BYTES: &[u8] = b"\"\\{}[]:,0-1.eE tfn\0\n\xff\xc3u";
        let mut bytes = self.text.clone().into_bytes();
        let (at, byte) = (self.below(bytes.len()), BYTES[self.below(BYTES.len())]);
        match self.below(4) {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, byte),
        }
        bytes
    }
}

/// Whether an object names a member twice, by a reader that keeps every member.
fn repeats(text: &str) -> bool {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = bool;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut seen = std::collections::HashSet::new();
            let mut found = false;
            while let Some(name) = map.next_key::<String>()? {
                found |= !seen.insert(name);
                found |= map.next_value::<Repeats>()?.0;
            }
            Ok(found)
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
            let mut found = false;
            while let Some(element) = seq.next_element::<Repeats>()? {
                found |= element.0;
            }
            Ok(found)
        }
        fn visit_str<E>(self, _: &str) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
            Ok(false)
        }
        fn visit_unit<E>(self) -> Result<bool, E> {
            Ok(false)
        }
    }
    struct Repeats(bool);
    impl<'de> serde::Deserialize<'de> for Repeats {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Members).map(Repeats)
        }
    }
    serde_json::from_str::<Repeats>(text).is_ok_and(|repeats| repeats.0)
}

/// The same decision and the same tree as the reference, but for repeated members.
fn compare(bytes: &[u8]) -> Result<(), String> {
    let ours = value(bytes, &limits());
    let theirs = serde_json::from_slice::<Value>(bytes).ok();
    let repeated = std::str::from_utf8(bytes).is_ok_and(repeats);
    match (ours, theirs) {
        (Ok(_), Some(_)) if repeated => Err("a repeated member was taken".into()),
        (Ok(ours), Some(theirs)) if ours != theirs => Err(format!("read as {ours}, not {theirs}")),
        (Ok(_), None) => Err("taken alone".into()),
        (Err(refused), Some(_)) if !repeated || !matches!(refused.fault, Fault::Duplicate(_)) => {
            Err(format!("refused alone: {refused}"))
        }
        _ => Ok(()),
    }
}

/// 200,000 documents, half of them damaged. A failure names the seed that writes the document again.
#[test]
fn decides_like_the_reference() {
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..100_000 {
        let mut writer = Writer::new(seed);
        writer.value(4);
        for bytes in [writer.text.clone().into_bytes(), writer.damaged()] {
            if let Err(difference) = compare(&bytes) {
                panic!("seed {seed}: {difference}: {}", String::from_utf8_lossy(&bytes));
            }
            if value(&bytes, &limits()).is_ok() { taken += 1 } else { refused += 1 }
        }
    }
    assert!(
        taken > 80_000 && refused > 50_000,
        "{taken} taken, {refused} refused: the test has lost its edge"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_trouble(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(compare(&bytes), Ok(()));
    }
}

#[test]
fn a_wide_document_is_read_in_time_and_memory() {
    let wide = format!("[{}0]", "0,".repeat(200_000));
    value(wide.as_bytes(), &limits()).expect("a wide array of numbers is taken");
    let text = format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(value(text.as_bytes(), &limits()).unwrap(), json!({ "text": "x".repeat(1 << 20) }));
    let hollow = format!("[{}0]", "{\"\":0},".repeat(150_000));
    assert_eq!(fault(hollow.as_bytes()), Fault::Values(limits().values));
}
