//! Decisions: the shipped policies, the equality of short cuts with Cedar itself, and what goes wrong.

use std::path::{Path, PathBuf};

use cedar_policy::{Authorizer, Context, Decision as Effect, Entity, PolicyId, PolicySet, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::action::Kind;
use super::*;
use crate::message::{Dialect, Operation};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn policies(text: &str) -> Policies {
    Policies::load(Some(folder(&[("p.cedar", text)]).path())).unwrap()
}

fn mistakes(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let told = Policies::load(Some(folder.path())).map(drop).unwrap_err().to_string();
    told.replace(&format!("{}/", folder.path().display()), "")
}

fn caller(name: &str, groups: &[&str]) -> Principal {
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    Principal::new("demo", name, &groups).unwrap()
}

const BUY: Resource<'_> = Resource::Tool { server: "ledger", tool: "buy" };

fn call(policies: &Policies, who: &Principal, resource: Resource<'_>, arguments: &Value) -> Decision {
    policies.decide(who, Operation::CallTool, resource, Some(arguments), Dialect::McpModern)
}

#[test]
fn the_shipped_policies_pass_their_tests() {
    let report = run_tests(&shipped()).unwrap();
    assert!(report.is_success(), "{report}");
    assert!(report.passed >= 25, "{report}");
}

#[test]
fn a_failing_policy_test_says_what_came() {
    let folder = folder(&[("p.cedar", "@id(\"all\") permit(principal, action, resource);")]);
    std::fs::create_dir(folder.path().join("tests")).unwrap();
    let tests = r#"{"callers": {"a": {"tenant": "t"}}, "tests": [
        {"name": "no", "caller": "a", "action": "connect", "resource": "Server::\"x\"", "expect": "deny"}]}"#;
    std::fs::write(folder.path().join("tests/t.json"), tests).unwrap();
    let report = run_tests(folder.path()).unwrap();
    assert!(report.failures[0].contains("expected Deny, got Allow by all"), "{report}");
    std::fs::write(folder.path().join("tests/t.json"), "{\"callers\": {},\n \"tests\": [\n{ \"nam\": 1 }]}")
        .unwrap();
    let told = run_tests(folder.path()).unwrap_err().to_string();
    assert!(told.contains("t.json:3:") && told.contains("nam"), "{told}");
}

#[test]
fn without_a_folder_everything_is_permitted() {
    let policies = Policies::load(None).unwrap();
    let decision = call(&policies, &caller("a", &[]), BUY, &json!({}));
    assert_eq!((decision.allowed, decision.cause, &*decision.policies), (true, Cause::Unguarded, ""));
    assert!(policies.visible(&caller("a", &[]), Operation::CallTool, BUY, Dialect::McpLegacy));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let told = mistakes(&[
        (
            "a.cedar",
            "permit(principal, action, resource);\n@id(\"two\")\npermit(principal, action == Action::\"sned\", resource);",
        ),
        ("b.cedar", "@id(\"b\") permit(principal, action, resource) when { true ;"),
        (
            "c.cedar",
            "@id(\"two\") forbid(principal, action, resource);\n@id(\"slot\") permit(principal == ?principal, action, resource);\n@id(\"a,b\") permit(principal, action, resource);",
        ),
        (
            "d.cedar",
            "@id(\"whole\")\nforbid(principal, action == Action::\"call_tool\", resource)\nwhen { context.arguments == {} };\n@id(\"mixed\") forbid(principal, action == Action::\"call_tool\", resource)\nwhen { context.arguments.n > 5 && context.arguments.n == \"x\" };\n@id(\"never\") permit(principal, action == Action::\"call_tool\", resource == Server::\"ledger\");",
        ),
        ("ignored.txt", "nonsense"),
    ]);
    for expected in [
        "a.cedar:1:1: every policy needs an id",
        "a.cedar:3:",
        "sned",
        "b.cedar:1:",
        "c.cedar:1:1: the id `two` is taken",
        "c.cedar: policy `slot` has a slot",
        "c.cedar:3:1: every policy needs an id",
        "d.cedar:1:1: policy `whole`: `context.arguments` is used as a whole",
        "d.cedar:5:",
        "policy `mixed`",
        "policy `never`",
    ] {
        assert!(told.contains(expected), "{expected} is not in:\n{told}");
    }
    assert!(!told.contains("nonsense"));
}

#[test]
fn an_empty_or_absent_folder_is_a_mistake() {
    assert!(mistakes(&[("readme.txt", "")]).contains("everything would be denied"));
    let told = Policies::load(Some(Path::new("/nonexistent/policies"))).map(drop).unwrap_err().to_string();
    assert!(told.starts_with("/nonexistent/policies: cannot be read"), "{told}");
}

#[test]
fn a_forbid_that_cannot_be_evaluated_denies() {
    let policies = policies(
        "@id(\"all\") permit(principal, action, resource);
         @id(\"cap\") forbid(principal, action == Action::\"call_tool\", resource) when { context.arguments.n + 1 > 5 };",
    );
    let who = caller("a", &[]);
    for (arguments, allowed, cause) in [
        (json!({"n": 4}), true, Cause::Permitted),
        (json!({"n": 5}), false, Cause::Forbidden),
        (json!({"n": 5.0}), false, Cause::Forbidden),
        (json!({}), false, Cause::Undecidable),
        (json!({"n": null}), false, Cause::Undecidable),
        (json!({"n": "9"}), false, Cause::Undecidable),
        (json!({"n": [9]}), false, Cause::Undecidable),
        (json!({"n": 4.5}), false, Cause::Undecidable),
        (json!({"n": 1e300}), false, Cause::Undecidable),
        (json!({"n": u64::MAX}), false, Cause::Undecidable),
        (json!({"n": i64::MAX}), false, Cause::Undecidable),
        (json!({"n": 4, "other": 4.5}), true, Cause::Permitted),
    ] {
        let decision = call(&policies, &who, BUY, &arguments);
        assert_eq!((decision.allowed, decision.cause), (allowed, cause), "{arguments}: {}", decision.message);
        assert_eq!(&*decision.policies, if allowed { "all" } else { "cap" }, "{arguments}");
    }
    // Other actions are not touched by it.
    let decision = policies.decide(&who, Operation::Send, Resource::Agent("x"), None, Dialect::A2aV10);
    assert!(decision.allowed);
}

#[test]
fn a_permit_that_cannot_be_evaluated_grants_nothing() {
    let policies = policies(
        "@id(\"small\") permit(principal, action == Action::\"call_tool\", resource) when { context.arguments.n < 5 };
         @id(\"boss\") permit(principal in Group::\"bosses\", action, resource);",
    );
    let decision = call(&policies, &caller("a", &[]), BUY, &json!({"n": "x"}));
    assert_eq!((decision.allowed, decision.cause), (false, Cause::Undecidable));
    assert!(call(&policies, &caller("a", &[]), BUY, &json!({"n": 1})).allowed);
    assert!(!call(&policies, &caller("a", &[]), BUY, &json!({"n": 7})).allowed);
    assert!(call(&policies, &caller("b", &["bosses"]), BUY, &json!({"n": "x"})).allowed);
}

#[test]
fn the_author_of_a_forbid_tells_the_caller_why() {
    let policies = Policies::load(Some(&shipped())).unwrap();
    let who = caller("treasurer", &["readers", "writers"]);
    let decision = call(&policies, &who, BUY, &json!({"milli_ounces": 100_001, "price_cents": 1}));
    assert_eq!(&*decision.message, "nobody buys more than 100 ounces in one call");
    assert_eq!((&*decision.policies, decision.cause), ("no-bulk-purchases", Cause::Forbidden));
}

#[test]
fn a_tool_is_visible_when_some_arguments_may_pass() {
    let policies = policies(
        "@id(\"small\") permit(principal in Group::\"g\", action == Action::\"call_tool\", resource == Tool::\"ledger/buy\") when { context.arguments has n && context.arguments.n < 5 };
         @id(\"sell\") permit(principal, action == Action::\"call_tool\", resource == Tool::\"ledger/sell\");
         @id(\"not-much\") forbid(principal, action == Action::\"call_tool\", resource in Server::\"ledger\") when { context.arguments has n && context.arguments.n > 5 };
         @id(\"never\") forbid(principal in Group::\"out\", action, resource);",
    );
    let visible = |who: &Principal, tool| {
        policies.visible(who, Action::CallTool, Resource::Tool { server: "ledger", tool }, Dialect::McpModern)
    };
    let (member, other, out) = (caller("a", &["g"]), caller("b", &[]), caller("c", &["g", "out"]));
    assert!(visible(&member, "buy") && visible(&member, "sell") && !visible(&member, "history"));
    assert!(!visible(&other, "buy") && visible(&other, "sell"));
    assert!(!visible(&out, "buy") && !visible(&out, "sell"));
}

#[test]
fn callers_with_the_same_name_are_told_apart() {
    let policies = policies(
        "@id(\"one\") permit(principal == Caller::\"demo/analyst\", action, resource);
         @id(\"tenant\") permit(principal in Tenant::\"other\", action == Action::\"connect\", resource) when { context.dialect == \"2026-07-28\" };",
    );
    let decide = |tenant: &str, name: &str, dialect| {
        let who = Principal::new(tenant, name, &[]).unwrap();
        policies.decide(&who, Operation::Discover, Resource::Gateway, None, dialect).policies.to_string()
    };
    for _ in 0..2 {
        assert_eq!(decide("demo", "analyst", Dialect::McpModern), "one");
        assert_eq!(decide("other", "analyst", Dialect::McpModern), "tenant");
        assert_eq!(decide("other", "analyst", Dialect::McpLegacy), "");
        assert_eq!(decide("demo", "x", Dialect::McpModern), "");
    }
}

#[test]
fn permitted_is_made_by_a_decision_only() {
    struct Message;
    impl Subject for Message {
        fn operation(&self) -> Operation {
            Operation::CallTool
        }
        fn dialect(&self) -> Dialect {
            Dialect::McpModern
        }
        fn arguments(&self) -> Option<&Value> {
            None
        }
    }
    let policies = Policies::load(Some(&shipped())).unwrap();
    let price = Resource::Tool { server: "gold_price", tool: "price_now" };
    let permitted = policies.permit(Message, caller("analyst", &["readers"]), price).ok().unwrap();
    assert_eq!(&*permitted.decision().policies, "readers-read-prices");
    let denied = policies.permit(Message, caller("analyst", &["readers"]), BUY).err().unwrap();
    assert_eq!(denied.decision.cause, Cause::NotPermitted);
    assert_eq!(denied.principal.id(), "demo/analyst");
}

#[test]
fn counts_decisions_and_hits() {
    let registry = prometheus::Registry::new();
    let metrics = std::sync::Arc::new(Metrics::register(&registry).unwrap());
    let policies = Policies::load(Some(&shipped())).unwrap().with_metrics(metrics);
    let who = caller("analyst", &["readers"]);
    for _ in 0..3 {
        call(&policies, &who, BUY, &json!({}));
    }
    let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        "kamf_policy_decisions_total{cause=\"not_permitted\",effect=\"deny\"} 3",
        "kamf_policy_decisions_total{cause=\"permitted\",effect=\"allow\"} 0",
        "kamf_policy_cache_lookups_total{cache=\"decisions\",result=\"hit\"} 2",
        "kamf_policy_cache_lookups_total{cache=\"decisions\",result=\"miss\"} 1",
        "kamf_policy_authentication_failures_total{reason=\"expired\"} 0",
        "kamf_policy_rate_limited_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

// === The short cuts decide like Cedar ===

const PRINCIPALS: [&str; 5] = [
    "principal",
    "principal == Caller::\"demo/a\"",
    "principal in Group::\"g\"",
    "principal in Tenant::\"demo\"",
    "principal is Caller in Group::\"h\"",
];
const RESOURCES: [&str; 5] = [
    "resource",
    "resource == Tool::\"s/t\"",
    "resource in Server::\"s\"",
    "resource is Tool",
    "resource is Tool in Server::\"r\"",
];
const CONDITIONS: [&str; 8] = [
    "",
    "when { context.arguments has n && context.arguments.n > 3 }",
    "when { context.arguments has n && context.arguments.n <= 3 }",
    "unless { context.arguments has tag && context.arguments.tag like \"x*\" }",
    "when { principal.name == \"a\" || context.arguments has n }",
    "when { context.dialect == \"2026-07-28\" }",
    "when { context.arguments has o && context.arguments.o has deep && context.arguments.o.deep == \"y\" }",
    "when { context.arguments has list && context.arguments.list.contains(\"x\") }",
];

prop_compose! {
    fn policy()(effect in prop::bool::ANY, principal in 0..PRINCIPALS.len(), every in prop::bool::ANY,
        resource in 0..RESOURCES.len(), condition in 0..CONDITIONS.len()) -> String {
        let effect = if effect { "permit" } else { "forbid" };
        // Conditions on arguments are only valid for the action that has them.
        let action = if every && CONDITIONS[condition].is_empty() { "action in Action::\"mcp\"" } else { "action == Action::\"call_tool\"" };
        format!("{effect}({}, {action}, {}) {};", PRINCIPALS[principal], RESOURCES[resource], CONDITIONS[condition])
    }
}

prop_compose! {
    fn question()(name in prop::sample::select(vec!["a", "b"]), groups in prop::sample::subsequence(vec!["g", "h"], 0..=2),
        server in prop::sample::select(vec!["s", "r"]), tool in prop::sample::select(vec!["t", "u"]), modern in prop::bool::ANY,
        n in prop::option::of(0..7_i64), tag in prop::option::of(prop::sample::select(vec!["x1", "z"])),
        deep in prop::option::of(prop::option::of(prop::sample::select(vec!["y", "z"]))),
        list in prop::option::of(prop::sample::subsequence(vec!["x", "z"], 0..=2)))
        -> (Principal, &'static str, &'static str, Dialect, Value) {
        let mut arguments = json!({"unread": 1.5});
        if let Some(n) = n { arguments["n"] = json!(n); }
        if let Some(tag) = tag { arguments["tag"] = json!(tag); }
        if let Some(list) = list { arguments["list"] = json!(list); }
        if let Some(deep) = deep { arguments["o"] = deep.map_or(json!({}), |deep| json!({"deep": deep, "unread": null})); }
        (caller(name, &groups), server, tool, if modern { Dialect::McpModern } else { Dialect::McpLegacy }, arguments)
    }
}

/// Cedar over the whole set, with nothing left out and nothing remembered.
fn by_cedar(
    set: &PolicySet,
    action: Entity,
    who: &Principal,
    resource: Resource<'_>,
    dialect: Dialect,
    arguments: &Value,
) -> (bool, bool) {
    let entities = entities::entities(who, action, resource).unwrap();
    let mut known = arguments.clone();
    known.as_object_mut().unwrap().remove("unread");
    if let Some(inner) = known.get_mut("o") {
        inner.as_object_mut().unwrap().remove("unread");
    }
    let context = json!({"dialect": dialect.version(), "arguments": known});
    let context = Context::from_json_value(context, None).unwrap();
    let principal = Kind::Caller.uid(who.id());
    let request = Request::new(principal, Action::CallTool.uid(), resource.uid(), context, None).unwrap();
    let response = Authorizer::new().is_authorized(&request, set, &entities);
    (response.decision() == Effect::Allow, response.diagnostics().errors().next().is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn slices_and_cache_decide_like_cedar(texts in prop::collection::vec(policy(), 1..12),
        questions in prop::collection::vec(question(), 1..40)) {
        let text: String =
            texts.iter().enumerate().map(|(n, text)| format!("@id(\"p{n}\") {text}\n")).collect();
        let policies = policies(&text);
        let whole: PolicySet = text.parse().unwrap();
        let named = whole.policies().map(|policy| policy.new_id(PolicyId::new(policy.annotation("id").unwrap())));
        let whole = PolicySet::from_policies(named).unwrap();
        let schema = schema::with_arguments(&analysis::Shape::default()).unwrap();
        let actions = schema.action_entities().unwrap();
        let action = actions.get(&Action::CallTool.uid()).unwrap();
        for (who, server, tool, dialect, arguments) in &questions {
            let resource = Resource::Tool { server, tool };
            let (expected, failed) = by_cedar(&whole, action.clone(), who, resource, *dialect, arguments);
            prop_assert!(!failed, "a guarded policy failed: {text}");
            for _ in 0..2 {
                let decision = policies.decide(who, Operation::CallTool, resource, Some(arguments), *dialect);
                prop_assert_eq!(decision.allowed, expected, "{:?} {} {}\n{}", who, resource, arguments, text);
            }
            let visible = policies.visible(who, Operation::CallTool, resource, *dialect);
            prop_assert!(visible || !expected, "allowed but not listed: {resource} {text}");
        }
    }
}
