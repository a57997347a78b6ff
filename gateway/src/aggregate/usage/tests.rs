use std::collections::BTreeMap;

use super::*;
use crate::config::ModelPrice;

fn prices() -> Prices {
    let price = ModelPrice { input_per_million: 3_000_000, output_per_million: 15_000_000 };
    Prices {
        currency: "USD".into(),
        models: BTreeMap::from([("m".to_owned(), price)]),
        calls: BTreeMap::from([("ledger".to_owned(), 250)]),
    }
}

fn report(input_tokens: u64, output_tokens: u64, model: Option<&str>) -> Report {
    Report { input_tokens, output_tokens, model: model.map(str::to_owned) }
}

#[test]
fn usage_is_found_in_every_place_that_a2a_and_mcp_have_for_it() {
    let usage = r#"{"gen_ai.usage.input_tokens":12,"gen_ai.usage.output_tokens":3.0,"gen_ai.request.model":"q","gen_ai.response.model":"m"}"#;
    for around in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"task":{"id":"t","metadata":@}}}"#,
        r#"{"result":{"message":{"role":"ROLE_AGENT","parts":[{"text":"hi"}],"metadata":@}}}"#,
        r#"{"result":{"statusUpdate":{"status":{"state":"x","message":null},"metadata":@}}}"#,
        r#"{"result":{"kind":"status-update","final":true,"metadata":{"usage":@,"x":[1,-2,3.5,true,null]}}}"#,
        r#"{"result":{"content":[],"_meta":@}}"#,
    ] {
        let body = around.replace('@', usage);
        assert_eq!(find(body.as_bytes()), [report(12, 3, Some("m"))], "{body}");
    }
}

#[test]
fn usage_outside_of_metadata_or_of_another_type_does_not_count() {
    for body in [
        r#"{"result":{"gen_ai.usage.input_tokens":1}}"#,
        r#"{"result":{"metadata":{"gen_ai.usage.input_tokens":"1"}}}"#,
        r#"{"result":{"metadata":{"gen_ai.usage.input_tokens":-1,"gen_ai.usage.output_tokens":[1]}}}"#,
        r#"{"result":{"metadata":{"gen_ai.usage.input_tokens":1.5,"gen_ai.usage.output_tokens":{"a":1}}}}"#,
        r#"{"result":{"metadata":{"gen_ai.usage.input_tokens":1}"#,
        r#"{"result":"gen_ai.usage."}"#,
        "",
    ] {
        assert_eq!(find(body.as_bytes()), [], "{body}");
    }
}

#[test]
fn the_outermost_metadata_counts_and_equals_add_up() {
    let body = br#"{"result":{"metadata":{"gen_ai.usage.input_tokens":5},"status":{"message":{"metadata":{"gen_ai.usage.input_tokens":9}}}}}"#;
    assert_eq!(find(body), [report(5, 0, None)]);
    let body = br#"{"result":{"artifacts":[{"metadata":{"gen_ai.usage.input_tokens":1}},{"metadata":{"gen_ai.usage.output_tokens":2}}]}}"#;
    assert_eq!(find(body), [report(1, 0, None), report(0, 2, None)]);
}

#[test]
fn a_message_as_deep_as_it_can_be_ends_without_a_report() {
    let deep = format!("{}{}", r#"{"metadata":"#.repeat(5_000), r#""gen_ai.usage."#);
    assert_eq!(find(deep.as_bytes()), []);
}

#[test]
fn money_is_rounded_once_and_half_upwards() {
    let cost = |reports: &[Report]| price(&prices(), reports).unwrap().cost;
    // 1 x 3 + 1 x 15 millionths of a million tokens' price.
    assert_eq!(cost(&[report(1, 1, Some("m"))]), 18);
    assert_eq!(round(499_999), 0);
    assert_eq!(round(500_000), 1);
    assert_eq!(round(1_499_999), 1);
    assert_eq!(cost(&[report(u64::MAX, u64::MAX, Some("m"))]), u64::MAX);
}

#[test]
fn a_model_without_a_price_is_told_and_no_usage_costs_the_fixed_price() {
    let usage = price(&prices(), &[report(7, 8, Some("unheard"))]).unwrap();
    assert_eq!((usage.input_tokens, usage.cost, usage.unpriced, usage.estimated), (7, 0, true, false));
    assert_eq!(price(&prices(), &[]), None);
    assert_eq!(fixed(&prices(), "ledger"), Usage { cost: 250, estimated: true, ..Usage::default() });
    assert_eq!(fixed(&prices(), "gold_price"), Usage::default());
}
