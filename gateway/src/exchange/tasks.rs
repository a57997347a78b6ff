//! Whose task it is: before a message that names one goes any further.

use super::Gateway;
use super::respond::Refused;
use crate::outcome::Reason;
use crate::protocol::Parsed;
use crate::relay::{Admitted, Task};

/// What is known of the task or context that a message names.
#[derive(Default)]
pub(super) struct Known {
    /// Where its records go, so that they all stand in one order.
    pub(super) partition: Option<i32>,
    /// The task itself.
    pub(super) task: Option<Task>,
}

/// What `parsed` names.
///
/// # Errors
/// A task that never was, and one of another caller, are refused in the same words after the same time; so is a
/// context of another caller. One that nobody has used is the caller's to choose.
pub(super) async fn known(gateway: &Gateway, parsed: &Parsed, admitted: &Admitted) -> Result<Known, Refused> {
    let (agent, owner) = (&*admitted.agent, (&*admitted.tenant, &*admitted.principal));
    let refused = |reason, message: &str| Refused::new(reason, parsed.dialect, parsed.id.as_ref(), message);
    let mut known = Known::default();
    for task in parsed.task_id().into_iter().chain(parsed.reference_task_ids()) {
        match gateway.tasks.find(agent, task, owner).await {
            Ok(Some(task)) => {
                known.partition.get_or_insert(task.partition);
                known.task.get_or_insert(task);
            }
            Ok(None) => return Err(refused(Reason::UnknownTask, "there is no such task")),
            Err(error) => return Err(refused(Reason::LogUnavailable, &error.to_string())),
        }
    }
    if let Some(context) = parsed.context_id() {
        match gateway.tasks.context(agent, context, owner) {
            Ok(partition) => known.partition = known.partition.or(partition),
            Err(_) => return Err(refused(Reason::UnknownTask, "there is no such context")),
        }
    }
    Ok(known)
}
