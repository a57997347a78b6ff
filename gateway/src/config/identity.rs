//! `identity`: who may call.

use std::path::PathBuf;

use super::reader::{Field, Group};

/// The tenant of callers for whom none is written.
const TENANT: &str = "default";

/// Who may call.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub keys: Vec<ApiKey>,
    pub jwt: Vec<JwtIssuer>,
    /// The caller that a request without any credential is; none unless configured.
    pub anonymous: Option<Anonymous>,
}

/// One API key, by its hash: `sha256:` and 64 hex digits. A caller may have several, to change them without a gap.
#[derive(Clone, Debug)]
pub struct ApiKey {
    pub name: String,
    pub tenant: String,
    pub groups: Vec<String>,
    pub sha256: [u8; 32],
}

/// One issuer of JWT access tokens (RFC 9068), with a static JWKS file.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    pub issuer: String,
    pub audience: String,
    pub jwks: PathBuf,
    /// Claim that names the tenant; the issuer's `tenant` when the claim is absent.
    pub tenant_claim: Option<String>,
    pub tenant: String,
    /// Claim that lists the groups.
    pub groups_claim: Option<String>,
}

/// The caller without a credential.
#[derive(Clone, Debug)]
pub struct Anonymous {
    pub name: String,
    pub tenant: String,
    pub groups: Vec<String>,
}

pub(super) fn read(group: &mut Group<'_>) -> Identity {
    let mut identity = Identity::default();
    group.set("keys", &mut identity.keys, |field| Some(read_keys(field)));
    group.set("jwt", &mut identity.jwt, |field| {
        Some(field.items().iter().filter_map(|item| item.group(read_issuer)).collect())
    });
    group.set("anonymous", &mut identity.anonymous, |field| Some(Some(field.group(read_anonymous))));
    identity
}

fn read_keys(field: &Field<'_>) -> Vec<ApiKey> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for item in field.items() {
        let Some(key) = item.group(read_key) else { continue };
        if let Some(other) = keys.iter().find(|other| other.sha256 == key.sha256) {
            item.refuse(format!(
                "`{}` has the very key of `{}`; give each caller its own",
                key.name, other.name
            ));
        }
        keys.push(key);
    }
    keys
}

fn read_key(group: &mut Group<'_>) -> Option<ApiKey> {
    let name = group.require("name").and_then(|field| field.word());
    let (tenant, groups) = read_tenant_and_groups(group);
    let sha256 = group.require("hash").and_then(|field| field.key_hash());
    Some(ApiKey { name: name?, tenant, groups, sha256: sha256? })
}

fn read_issuer(group: &mut Group<'_>) -> Option<JwtIssuer> {
    let issuer = group.require("issuer").and_then(|field| field.word());
    let audience = group.require("audience").and_then(|field| field.word());
    let jwks = group.require("jwks").and_then(|field| field.file());
    let mut tenant = TENANT.to_owned();
    group.set("tenant", &mut tenant, Field::word);
    let tenant_claim = group.get("tenant_claim").and_then(|field| field.word());
    let groups_claim = group.get("groups_claim").and_then(|field| field.word());
    Some(JwtIssuer { issuer: issuer?, audience: audience?, jwks: jwks?, tenant_claim, tenant, groups_claim })
}

fn read_anonymous(group: &mut Group<'_>) -> Anonymous {
    let mut name = "anonymous".to_owned();
    group.set("name", &mut name, Field::word);
    let (tenant, groups) = read_tenant_and_groups(group);
    Anonymous { name, tenant, groups }
}

fn read_tenant_and_groups(group: &mut Group<'_>) -> (String, Vec<String>) {
    let (mut tenant, mut groups) = (TENANT.to_owned(), Vec::new());
    group.set("tenant", &mut tenant, Field::word);
    group.set("groups", &mut groups, Field::words);
    (tenant, groups)
}
