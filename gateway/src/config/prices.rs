//! `prices`: what tokens and calls cost. Money is whole millionths, never a float.

use std::collections::BTreeMap;

use super::reader::{Field, Group};

/// What tokens and calls cost. Money is integers of a millionth of `currency`.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    pub currency: String,
    /// By model name as the answer reports it.
    pub models: BTreeMap<String, ModelPrice>,
    /// Fixed price of a call where no usage is reported, by agent or server name; marked as estimated.
    pub calls: BTreeMap<String, u64>,
}

/// Millionths of the currency for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelPrice {
    pub input_per_million: u64,
    pub output_per_million: u64,
}

pub(super) fn read(group: &mut Group<'_>) -> Prices {
    let mut prices = Prices::default();
    let currency = group.require("currency").and_then(|field| field.word());
    prices.currency = currency.unwrap_or_default();
    group.set("models", &mut prices.models, |field| Some(named(field, |price| price.group(read_model))));
    group.set("calls", &mut prices.calls, |field| Some(named(field, |price| price.millionths())));
    prices
}

fn read_model(group: &mut Group<'_>) -> Option<ModelPrice> {
    let input = group.require("input_per_million").and_then(|field| field.millionths());
    let output = group.require("output_per_million").and_then(|field| field.millionths());
    Some(ModelPrice { input_per_million: input?, output_per_million: output? })
}

fn named<T>(field: &Field<'_>, read: impl Fn(&Field<'_>) -> Option<T>) -> BTreeMap<String, T> {
    field
        .entries()
        .into_iter()
        .filter_map(|(name, _, value)| Some((name.to_owned(), read(&value)?)))
        .collect()
}
