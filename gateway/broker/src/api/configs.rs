//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_response,
    incremental_alter_configs_response,
};
use kafka_protocol::protocol::StrBytes;

use super::text;
use super::topics::{refusal, stopping};
use crate::node::Node;
use crate::storage::keys::{self, Key, Kind};
use crate::storage::topics::ChangeError;
use crate::sync::read;

/// Why something was not done, for the client and for its user.
pub(super) type Refusal = (ResponseError, String);

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from.
const GIVEN_FOR_TOPIC: i8 = 1;
const GIVEN_TO_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

/// What an incremental change does.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// The value in force and whether it is the default.
pub(super) fn shown<'a>(key: &Key, given: &'a BTreeMap<String, String>) -> (&'a str, bool) {
    given.get(key.name).map_or((key.default, true), |value| (value.as_str(), false))
}

pub(super) fn entry_source(is_default: bool) -> i8 {
    if is_default { DEFAULT } else { GIVEN_FOR_TOPIC }
}

pub(super) fn describe(node: &Node, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let synonyms = request.include_synonyms;
    let results = request.resources.into_iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(node, &resource, synonyms) {
            Ok(configs) => result.with_configs(configs),
            Err((error, reason)) => {
                result.with_error_code(error.code()).with_error_message(Some(text(reason)))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn entries(
    node: &Node,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let wanted = |name: &str| {
        resource
            .configuration_keys
            .as_ref()
            .is_none_or(|keys| keys.is_empty() || keys.iter().any(|key| key.as_str() == name))
    };
    match resource.resource_type {
        TOPIC => {
            let topic =
                node.catalog.topic(&resource.resource_name).ok_or_else(|| refusal(&ChangeError::Unknown))?;
            let given = read(&topic.given);
            Ok(keys::KEYS
                .iter()
                .filter(|key| wanted(key.name))
                .map(|key| topic_entry(key, &given, synonyms))
                .collect())
        }
        BROKER => Ok(broker_entries(node).into_iter().filter(|entry| wanted(&entry.name)).collect()),
        other => Err((
            ResponseError::InvalidRequest,
            format!("there are no settings of resources of type {other}"),
        )),
    }
}

fn topic_entry(key: &Key, given: &BTreeMap<String, String>, synonyms: bool) -> DescribeConfigsResourceResult {
    let (value, is_default) = shown(key, given);
    let synonym = |value: &str, source| {
        DescribeConfigsSynonym::default()
            .with_name(text(key.name))
            .with_value(Some(text(value)))
            .with_source(source)
    };
    let mut known_as = Vec::new();
    if synonyms {
        if !is_default {
            known_as.push(synonym(value, GIVEN_FOR_TOPIC));
        }
        known_as.push(synonym(key.default, DEFAULT));
    }
    DescribeConfigsResourceResult::default()
        .with_name(text(key.name))
        .with_value(Some(text(value)))
        .with_config_source(entry_source(is_default))
        .with_config_type(type_of(key.kind))
        .with_synonyms(known_as)
}

/// The protocol's number for the type of a value.
fn type_of(kind: Kind) -> i8 {
    match kind {
        Kind::Word(["false", "true"]) => 1,
        Kind::Word(_) => 2,
        Kind::Number(..) => 5,
        Kind::Fraction => 6,
        Kind::Words(_) => 7,
    }
}

/// The broker's own options, for reading only.
fn broker_entries(node: &Node) -> Vec<DescribeConfigsResourceResult> {
    let limits = &node.limits;
    let entries = [
        ("num.partitions", node.default_partitions.to_string()),
        ("max.connections", limits.connections.to_string()),
        ("socket.request.max.bytes", limits.request_bytes.to_string()),
        ("message.max.bytes", limits.batch_bytes.to_string()),
        ("fetch.max.bytes", limits.fetch_bytes.to_string()),
        ("group.max.size", limits.members.to_string()),
        ("connections.max.idle.ms", limits.idle.as_millis().to_string()),
        ("producer.id.expiration.ms", limits.producer_expiry.as_millis().to_string()),
        ("offsets.retention.minutes", (limits.offsets_retention.as_secs() / 60).to_string()),
        ("log.retention.check.interval.ms", limits.retention_check.as_millis().to_string()),
        ("auto.create.topics.enable", "false".to_owned()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
    ];
    let entry = |(name, value): (&'static str, String)| {
        DescribeConfigsResourceResult::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
            .with_read_only(true)
            .with_config_source(GIVEN_TO_BROKER)
    };
    entries.into_iter().map(entry).collect()
}

/// Replaces all settings of topics.
pub(super) async fn alter(node: Arc<Node>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let changes = resource
            .configs
            .into_iter()
            .map(|config| AlterableConfig::default().with_name(config.name).with_value(config.value));
        let altered = apply(
            &node,
            resource.resource_type,
            &resource.resource_name,
            true,
            changes.collect(),
            request.validate_only,
        )
        .await;
        let (code, reason) = told(altered);
        let response = alter_configs_response::AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(reason);
        responses.push(
            response.with_resource_type(resource.resource_type).with_resource_name(resource.resource_name),
        );
    }
    AlterConfigsResponse::default().with_responses(responses)
}

/// Changes some settings of topics.
pub(super) async fn alter_some(
    node: Arc<Node>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let altered = apply(
            &node,
            resource.resource_type,
            &resource.resource_name,
            false,
            resource.configs,
            request.validate_only,
        )
        .await;
        let (code, reason) = told(altered);
        let response = incremental_alter_configs_response::AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(reason);
        responses.push(
            response.with_resource_type(resource.resource_type).with_resource_name(resource.resource_name),
        );
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn told(altered: Result<(), Refusal>) -> (i16, Option<StrBytes>) {
    match altered {
        Ok(()) => (0, None),
        Err((error, reason)) => (error.code(), Some(text(reason))),
    }
}

async fn apply(
    node: &Arc<Node>,
    kind: i8,
    name: &str,
    afresh: bool,
    changes: Vec<AlterableConfig>,
    validate_only: bool,
) -> Result<(), Refusal> {
    if kind != TOPIC {
        return Err((ResponseError::InvalidRequest, "only settings of topics can be altered".to_owned()));
    }
    let topic = node.catalog.topic(name).ok_or_else(|| refusal(&ChangeError::Unknown))?;
    let mut given = if afresh { BTreeMap::new() } else { read(&topic.given).clone() };
    for change in changes {
        apply_one(&mut given, &change).map_err(|reason| (ResponseError::InvalidConfig, reason))?;
    }
    if validate_only {
        return Ok(());
    }
    let (name, limits) = (name.to_owned(), node.limits.clone());
    let altered = node.queue.run(move |committer| committer.set_settings(&name, given, &limits)).await;
    altered.ok_or_else(stopping)?.map_err(|error| refusal(&error))
}

fn apply_one(given: &mut BTreeMap<String, String>, change: &AlterableConfig) -> Result<(), String> {
    let name = change.name.as_str();
    let key = keys::find(name).ok_or_else(|| format!("unknown topic setting {name}"))?;
    let value = change.value.as_deref();
    let listed = matches!(key.kind, Kind::Words(_));
    let value = match (change.config_operation, value) {
        (SET, Some(value)) => value.to_owned(),
        (DELETE, _) | (SET, None) => {
            given.remove(name);
            return Ok(());
        }
        (APPEND, Some(value)) if listed => format!("{},{value}", shown(key, given).0),
        (SUBTRACT, Some(value)) if listed => {
            let gone: Vec<&str> = value.split(',').map(str::trim).collect();
            let kept: Vec<&str> =
                shown(key, given).0.split(',').map(str::trim).filter(|word| !gone.contains(word)).collect();
            kept.join(",")
        }
        _ => return Err(format!("{name} is no list, or the operation is unknown")),
    };
    keys::check(name, &value)?;
    given.insert(name.to_owned(), value);
    Ok(())
}
