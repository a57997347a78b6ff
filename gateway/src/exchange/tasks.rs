//! Whose task it is: before a message that names one goes any further.

use super::Gateway;
use super::respond::Refused;
use crate::outcome::Reason;
use crate::protocol::Parsed;
use crate::relay::Admitted;

/// The partition of the task or context that `parsed` names, so that all of its records stand in one order; if it is known.
///
/// # Errors
/// A task that never was, and one of another caller, are refused in the same words after the same time; so is a
/// context of another caller. One that nobody has used is the caller's to choose.
pub(super) async fn place(
    gateway: &Gateway,
    parsed: &Parsed,
    admitted: &Admitted,
) -> Result<Option<i32>, Refused> {
    let (agent, owner) = (&*admitted.agent, (&*admitted.tenant, &*admitted.principal));
    let refused = |reason, message: &str| Refused::new(reason, parsed.dialect, parsed.id.as_ref(), message);
    let mut place = None;
    for task in parsed.task_id().into_iter().chain(parsed.reference_task_ids()) {
        match gateway.tasks.find(agent, task, owner).await {
            Ok(Some(task)) => place = place.or(Some(task.partition)),
            Ok(None) => return Err(refused(Reason::UnknownTask, "there is no such task")),
            Err(error) => return Err(refused(Reason::LogUnavailable, &error.to_string())),
        }
    }
    if let Some(context) = parsed.context_id() {
        match gateway.tasks.context(agent, context, owner) {
            Ok(known) => place = place.or(known),
            Err(_) => return Err(refused(Reason::UnknownTask, "there is no such context")),
        }
    }
    Ok(place)
}
