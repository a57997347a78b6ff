//! DescribeGroups, ListGroups, DeleteGroups.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    ListGroupsRequest, ListGroupsResponse,
};

use super::group_offsets::journal;
use super::text;
use crate::groups::{Group, State};
use crate::node::Node;
use crate::storage::offsets::Change;

/// What groups with offsets alone are taken to be.
const CONSUMER: &str = "consumer";
/// The state of a group that does not exist.
const DEAD: &str = "Dead";

pub(super) fn describe(node: &Node, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let described = node.groups.with(&id, describe_live).unwrap_or_else(|| {
            let known = node.offsets.has(&id);
            let state = if known { State::Empty.name() } else { DEAD };
            DescribedGroup::default().with_group_state(text(state)).with_protocol_type(text(if known {
                CONSUMER
            } else {
                ""
            }))
        });
        described.with_group_id(id)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe_live(group: &Group) -> DescribedGroup {
    let settled = group.state == State::Stable;
    let members = group.members.iter().map(|member| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(member.id.as_str()))
            .with_group_instance_id(member.instance.clone());
        let described = described
            .with_client_id(text(member.client.as_str()))
            .with_client_host(text(member.host.as_str()));
        // While the group is not stable, what a member has is not decided.
        if settled {
            described
                .with_member_metadata(member.metadata(&group.protocol))
                .with_member_assignment(member.assignment.clone())
        } else {
            described
        }
    });
    DescribedGroup::default()
        .with_group_state(text(group.state.name()))
        .with_protocol_type(group.protocol_type.clone())
        .with_protocol_data(if settled { group.protocol.clone() } else { text("") })
        .with_members(members.collect())
}

pub(super) fn list(node: &Node, request: &ListGroupsRequest) -> ListGroupsResponse {
    let with_offsets =
        node.offsets.groups().into_iter().map(|name| (name, (State::Empty.name(), text(CONSUMER))));
    let live = node
        .groups
        .all()
        .into_iter()
        .map(|(name, state, protocol_type)| (name, (state.name(), protocol_type)));
    // Live ones come last and replace what their offsets alone would say.
    let all: BTreeMap<String, _> = with_offsets.chain(live).collect();
    let wanted = |state: &str| {
        request.states_filter.is_empty()
            || request.states_filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(state))
    };
    let groups =
        all.into_iter().filter(|(_, (state, _))| wanted(state)).map(|(name, (state, protocol_type))| {
            ListedGroup::default()
                .with_group_id(GroupId(text(name)))
                .with_protocol_type(protocol_type)
                .with_group_state(text(state))
        });
    ListGroupsResponse::default().with_groups(groups.collect())
}

pub(super) async fn delete(node: Arc<Node>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for id in request.groups_names {
        let live = node.groups.with(&id, |_| ()).is_some();
        let known = node.offsets.has(&id);
        let code = if !live && !known {
            ResponseError::GroupIdNotFound.code()
        } else if !node.groups.remove(&id) {
            ResponseError::NonEmptyGroup.code()
        } else if known && !journal(&node, vec![Change::Group { group: id.to_string() }]).await {
            ResponseError::CoordinatorLoadInProgress.code()
        } else {
            0
        };
        results.push(DeletableGroupResult::default().with_group_id(id).with_error_code(code));
    }
    DeleteGroupsResponse::default().with_results(results)
}
