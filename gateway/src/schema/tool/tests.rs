use std::time::{Duration, Instant};

use serde_json::json;

use super::*;

fn compile(schema: &Value) -> Result<ToolSchema, SchemaRefused> {
    ToolSchema::compile(schema, &SchemaLimits::default())
}

fn found(schema: &Value, arguments: &Value) -> Vec<(String, String)> {
    let violations = compile(schema).expect("taken").check(Some(arguments)).err().unwrap_or_default();
    violations.into_iter().map(|violation| (violation.path, violation.message)).collect()
}

fn with(name: &str, value: Value) -> Value {
    let mut schema = json!({ "type": "object" });
    schema[name] = value;
    schema
}

#[test]
fn violations_name_the_place() {
    let schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["side"], "additionalProperties": false,
        "properties": {
            "side": { "enum": ["buy", "sell"] },
            "ounces": { "type": "number", "exclusiveMinimum": 0 },
            "note": { "type": "string", "pattern": "^[a-z ]*$", "maxLength": 20 },
            "at": { "anyOf": [{ "type": "object", "required": ["day"], "properties": { "day": { "type": "string" } } }, { "type": "null" }] },
        },
    });
    let rows = [
        (json!({}), "", "member `side` is missing"),
        (json!({ "side": "hold" }), "/side", "must be one of \"buy\", \"sell\""),
        (json!({ "side": "buy", "ounces": "1" }), "/ounces", "must be a number"),
        (json!({ "side": "buy", "note": "NO" }), "/note", "does not match the pattern ^[a-z ]*$"),
        (json!({ "side": "buy", "at": { "day": 5 } }), "/at/day", "must be a string"),
        (json!({ "side": "buy", "x": 1 }), "", "has members that are not known here: `x`"),
    ];
    for (arguments, path, message) in rows {
        assert_eq!(found(&schema, &arguments), [(path.to_owned(), message.to_owned())], "{arguments}");
    }
    assert_eq!(found(&schema, &json!({ "side": "buy", "ounces": 0 }))[0].0, "/ounces");
    assert_eq!(found(&schema, &json!({ "side": "buy", "ounces": 1.5, "note": "a b", "at": null })), []);
    let taken = compile(&schema).expect("taken");
    assert_eq!(taken.raw(), &schema);
    taken.check(None).expect_err("absent arguments count as none");
}

#[test]
fn ordinary_schemas_are_taken() {
    for schema in [
        json!({}),
        json!({ "type": "object" }),
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://x/y", "type": "object", "$defs": { "a": { "$anchor": "here", "type": "string" } }, "properties": { "a": { "$ref": "#here" }, "b": { "$ref": "#/$defs/a" } } }),
        json!({ "type": "object", "properties": { "x": { "format": "uri" }, "pattern": { "type": "string" }, "enum": { "pattern": "^a" } } }),
        json!({ "type": "object", "if": { "required": ["a"] }, "then": { "required": ["b"] }, "dependentSchemas": { "b": { "required": ["a"] } }, "unevaluatedProperties": false, "properties": { "a": true, "b": true } }),
        // A tree: recursion that goes deeper into the value.
        json!({ "type": "object", "properties": { "children": { "type": "array", "items": { "$ref": "#" } } } }),
    ] {
        let taken = compile(&schema).unwrap_or_else(|refused| panic!("{schema}: {refused}"));
        taken.check(None).expect("no arguments");
        taken.check(Some(&json!({ "a": "x", "b": "y" }))).expect("some arguments");
    }
    let nested = json!({ "type": "object", "properties": { "enum": { "pattern": "^a" } } });
    assert_eq!(
        found(&nested, &json!({ "enum": "b" })).len(),
        1,
        "a member named like a keyword is checked too"
    );
    let tree = json!({ "type": "object", "properties": { "n": { "type": "integer" }, "children": { "type": "array", "items": { "$ref": "#" } } } });
    assert_eq!(
        found(&tree, &json!({ "children": [{ "children": [{ "n": "x" }] }] }))[0].0,
        "/children/0/children/0/n"
    );
}

#[test]
fn limits_hold_at_their_edge() {
    let limits =
        SchemaLimits { bytes: 300, depth: 4, count: 10, refs: 2, validation: Duration::from_millis(20) };
    let taken = |schema: &Value| ToolSchema::compile(schema, &limits).map(drop);
    let text = |length: usize| json!({ "description": "x".repeat(length - r#"{"description":""}"#.len()) });
    assert_eq!((taken(&text(300)), taken(&text(301))), (Ok(()), Err(SchemaRefused::Bytes(300))));
    let nested =
        |depth: usize| (1..depth).fold(json!({}), |schema, _| json!({ "properties": { "a": schema } }));
    assert_eq!((taken(&nested(4)), taken(&nested(5))), (Ok(()), Err(SchemaRefused::Depth(4))));
    let wide = |count: usize| json!({ "allOf": vec![json!({}); count - 1] });
    assert_eq!((taken(&wide(10)), taken(&wide(11))), (Ok(()), Err(SchemaRefused::Count(10))));
    let refs =
        |count: usize| json!({ "$defs": { "a": {} }, "allOf": vec![json!({ "$ref": "#/$defs/a" }); count] });
    assert_eq!((taken(&refs(2)), taken(&refs(3))), (Ok(()), Err(SchemaRefused::Refs(2))));
}

/// `levels` definitions, each of which refers to the next one twice in `keyword`.
fn ladder(levels: usize, rung: impl Fn(Value, Value) -> Value) -> Value {
    let next = |level: usize| json!({ "$ref": format!("#/$defs/l{level}") });
    let mut definitions: Map<String, Value> =
        (0..levels).map(|level| (format!("l{level}"), rung(next(level + 1), next(level + 1)))).collect();
    definitions.insert(format!("l{levels}"), json!({ "type": "string" }));
    json!({ "type": "object", "$defs": definitions, "properties": { "a": next(0) } })
}

#[test]
fn hostile_schemas_are_refused_when_learned() {
    let pattern = |pattern: &str| with("properties", json!({ "a": { "pattern": pattern } }));
    let many: Map<String, Value> =
        (0..33).map(|n| (format!("p{n}"), json!({ "pattern": format!("^{n}") }))).collect();
    let rows: Vec<(Value, &str)> = vec![
        (json!(true), "describes an object"),
        (json!({ "type": "string" }), "describes an object"),
        (json!({ "type": ["object", "null"] }), "describes an object"),
        (with("$ref", json!("https://example.com/s.json")), "leads out"),
        (with("$ref", json!("file:///etc/passwd")), "leads out"),
        (with("$ref", json!("other.json#/a")), "leads out"),
        (with("properties", json!({ "a": { "$ref": "http://169.254.169.254/" } })), "leads out"),
        (with("$ref", json!("#/$defs/none")), "leads to no schema"),
        (with("$ref", json!("#/type")), "leads to no schema"),
        (with("$ref", json!("#none")), "leads to no schema"),
        (with("$ref", json!("#/%zz")), "leads to no schema"),
        (with("$dynamicRef", json!("#x")), "$dynamicRef"),
        (with("properties", json!({ "a": { "$id": "https://x/y" } })), "$id"),
        (with("$schema", json!("https://example.com/my-dialect")), "`$schema`"),
        (with("$schema", json!("http://json-schema.org/draft-04/schema#")), "`$schema`"),
        (with("$ref", json!("#")), "refers to itself"),
        (with("allOf", json!([{ "anyOf": [{ "$ref": "#" }] }])), "refers to itself"),
        (
            json!({ "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "not": { "$ref": "#/$defs/a" } } } }),
            "refers to itself",
        ),
        (ladder(22, |a, b| json!({ "allOf": [a, b] })), "too long"),
        (ladder(22, |a, b| json!({ "anyOf": [a, b] })), "too long"),
        (ladder(22, |a, b| json!({ "if": a, "then": b })), "too long"),
        (ladder(300, |a, _| json!({ "allOf": [a] })), "too long"),
        (pattern("(?=a)b"), "linear time"),
        (pattern(r"(a)\1"), "linear time"),
        (pattern("((a{100}){100}){100}"), "linear time"),
        (pattern(&"a".repeat(1025)), "linear time"),
        (pattern("("), "linear time"),
        (with("properties", many.into()), "more than 32 patterns"),
        (with("properties", json!(5)), "no valid JSON Schema"),
        (with("required", json!("a")), "no valid JSON Schema"),
    ];
    for (schema, said) in rows {
        let start = Instant::now();
        let refused = compile(&schema)
            .map(drop)
            .expect_err(&schema.to_string()[..60.min(schema.to_string().len())])
            .to_string();
        assert!(refused.contains(said), "{refused}");
        within(start.elapsed(), &refused);
    }
}

/// 50 ms; what is built without optimisation is given ten times as long.
fn within(elapsed: Duration, what: &str) {
    let limit = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 50 });
    assert!(elapsed < limit, "{what} took {elapsed:?}");
}

/// Schemas that are hostile within the limits, and the arguments that would be dear.
fn hostile() -> Vec<(&'static str, Value, Value)> {
    let nest = |depth: usize| (0..depth).fold(json!("x"), |value, _| json!([value]));
    let recursive = |alternatives: usize| {
        let list = json!({ "type": "array", "items": { "$ref": "#/$defs/n" } });
        json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/n" } }, "$defs": { "n": { "anyOf": vec![list; alternatives] } } })
    };
    let wide: Vec<Value> = (0..100_000).map(|n| json!(n)).collect();
    let objects: Vec<Value> = (0..8_000).map(|n| json!({ "k": n })).collect();
    let keys: Map<String, Value> = (0..20_000).map(|n| (format!("key{n}"), json!(n))).collect();
    let alike: Vec<Value> = (0..20_000).map(|n| json!(format!("some text that is long {n}"))).collect();
    let unevaluated = (0..9).fold(json!({}), |inner, _| json!({ "allOf": [inner, { "anyOf": [true, { "required": ["z"] }] }], "unevaluatedProperties": { "type": "integer" } }));
    let chained = ladder(480, |next, _| json!({ "properties": { "a": next } }));
    let required: Vec<String> = (0..20_000).map(|n| format!("r{n}")).collect();
    let string = |pattern: &str| json!({ "type": "object", "properties": { "a": { "type": "string", "pattern": pattern } } });
    let noise: String = (0_u32..1_000_000)
        .map(|n| if n.wrapping_mul(2_654_435_761) >> 31 == 0 { 'a' } else { 'b' })
        .collect();
    vec![
        ("two recursive alternatives", recursive(2), json!({ "a": nest(12) })),
        ("two recursive alternatives, deep", recursive(2), json!({ "a": nest(60) })),
        ("eight recursive alternatives", recursive(8), json!({ "a": nest(60) })),
        (
            "a ladder of members",
            ladder(24, |a, b| json!({ "type": "object", "properties": { "a": a, "b": b } })),
            json!({ "a": { "a": { "b": 1 } } }),
        ),
        ("a long chain of members", chained, json!({ "a": nest(3) })),
        ("nested allOf", (0..30).fold(json!({}), |inner, _| json!({ "allOf": [inner] })), json!({ "a": 1 })),
        ("unevaluated members", unevaluated, Value::Object(keys.clone())),
        (
            "a huge enum",
            with("properties", json!({ "a": { "items": { "enum": alike } } })),
            json!({ "a": alike[..2_000].iter().map(|_| json!("none of them")).collect::<Vec<_>>() }),
        ),
        (
            "unique items",
            with("properties", json!({ "a": { "uniqueItems": true } })),
            json!({ "a": objects }),
        ),
        (
            "a wide array",
            with("properties", json!({ "a": { "items": { "type": "string" } } })),
            json!({ "a": wide }),
        ),
        (
            "many alternatives",
            with(
                "properties",
                json!({ "a": { "items": { "oneOf": (0..500).map(|n| json!({ "const": n })).collect::<Vec<_>>() } } }),
            ),
            json!({ "a": wide }),
        ),
        ("much that is required", with("required", json!(required)), json!({})),
        (
            "contains",
            with("properties", json!({ "a": { "contains": { "contains": { "const": 1 } } } })),
            json!({ "a": vec![nest(2); 20_000] }),
        ),
        (
            "patterns of keys",
            with("patternProperties", json!({ "(a|b)*a(a|b){12}$": true, "x.*y.*z": false })),
            json!({ (noise.clone()): 1 }),
        ),
        (
            "many keys",
            with("patternProperties", json!({ "^(k|e|y)*[0-5]+$": { "type": "integer" } })),
            Value::Object(keys),
        ),
        ("a plain pattern, long text", string("^[a-z]*$"), json!({ "a": noise })),
        ("a pattern with many states", string("(a|b)*a(a|b){20}c$"), json!({ "a": noise })),
        ("a pattern with very many states", string("(.*a){300}c"), json!({ "a": noise })),
        ("a pattern of wide classes", string(r"(\w+\s?){60}!"), json!({ "a": noise })),
        (
            "a pattern, many short texts",
            with("properties", json!({ "a": { "items": { "pattern": "(x+x+)+y" } } })),
            json!({ "a": vec!["xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"; 15_000] }),
        ),
        (
            "names with a pattern",
            with("propertyNames", json!({ "pattern": "(a|b)*a(a|b){20}c$" })),
            json!({ (noise): 1 }),
        ),
    ]
}

#[test]
fn hostile_schemas_are_bounded_when_called() {
    for (name, schema, arguments) in hostile() {
        let start = Instant::now();
        let learned = compile(&schema);
        let learning = start.elapsed();
        within(learning, &format!("learning {name}"));
        let Ok(learned) = learned else {
            println!("{name}: refused when learned in {learning:?}");
            continue;
        };
        let start = Instant::now();
        let violations = learned.check(Some(&arguments)).err().unwrap_or_default();
        let calling = start.elapsed();
        println!(
            "{name}: learned in {learning:?}, called in {calling:?}: {:?}",
            violations.first().map(|v| &v.message)
        );
        within(calling, &format!("calling {name}"));
        assert!(violations.len() <= VIOLATIONS);
    }
}

#[test]
fn long_texts_pass_an_ordinary_pattern() {
    let schema = json!({ "type": "object", "properties": { "data": { "pattern": "^[A-Za-z0-9+/]*={0,2}$" }, "text": { "type": "string" } } });
    let taken = compile(&schema).expect("taken");
    taken
        .check(Some(&json!({ "data": "A".repeat(1_000_000), "text": "x".repeat(1 << 20) })))
        .expect("1 MB of base64");
}
