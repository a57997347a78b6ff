//! All tasks that are known, bounded: the oldest that have come to their end go first.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

use super::value::{Task, key};
use crate::message::Name;

/// The table: tasks by `agent/task`, and the contexts that they belong to.
#[derive(Debug)]
pub(super) struct Table {
    most: usize,
    tasks: HashMap<Box<str>, Task>,
    contexts: HashMap<Box<str>, Context>,
    /// Keys in the order in which their tasks ended; some may have gone, or have been taken up again.
    ended: VecDeque<Box<str>>,
    /// Keys in the order in which they came.
    came: VecDeque<Box<str>>,
}

/// Who a context belongs to, for as long as one of its tasks is known.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) tenant: Name,
    pub(super) principal: Name,
    pub(super) partition: i32,
    tasks: usize,
}

impl Table {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            tasks: HashMap::new(),
            contexts: HashMap::new(),
            ended: VecDeque::new(),
            came: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Task> {
        self.tasks.get(key)
    }

    pub(super) fn context(&self, agent: &str, context: &str) -> Option<&Context> {
        self.contexts.get(key(agent, context).as_str())
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    /// Takes `task` in; what was known of it before is replaced. Gives how many others had to go for it.
    pub(super) fn put(&mut self, task: Task) -> usize {
        let name: Box<str> = task.key().into();
        let was = self.remove(&name);
        if was.is_none() {
            self.came.push_back(name.clone());
        }
        if task.state.is_terminal() && !was.is_some_and(|was| was.state.is_terminal()) {
            self.ended.push_back(name.clone());
        }
        if let Some(context) = &task.context {
            let (tenant, principal) = (task.tenant.clone(), task.principal.clone());
            let fresh = || Context { tenant, principal, partition: task.partition, tasks: 0 };
            self.contexts.entry(key(&task.agent, context).into()).or_insert_with(fresh).tasks += 1;
        }
        self.tasks.insert(name, task);
        self.shrink()
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Task> {
        let task = self.tasks.remove(name)?;
        if let Some(context) = &task.context {
            let context = key(&task.agent, context);
            if let Some(found) = self.contexts.get_mut(context.as_str()) {
                found.tasks -= 1;
                if found.tasks == 0 {
                    self.contexts.remove(context.as_str());
                }
            }
        }
        Some(task)
    }

    /// Keys of tasks of which nothing was heard for `keep`, oldest first, at most `most`.
    pub(super) fn stale(&self, now: SystemTime, keep: Duration, most: usize) -> Vec<Box<str>> {
        let stale = |task: &Task| now.duration_since(task.time).is_ok_and(|age| age > keep);
        self.tasks.iter().filter(|(_, task)| stale(task)).map(|(name, _)| name.clone()).take(most).collect()
    }

    fn shrink(&mut self) -> usize {
        let before = self.tasks.len();
        while self.tasks.len() > self.most {
            let tasks = &self.tasks;
            let ended =
                pop(&mut self.ended, |name| tasks.get(name).is_some_and(|task| task.state.is_terminal()));
            // Only when none of all these tasks has come to its end.
            let Some(oldest) = ended.or_else(|| pop(&mut self.came, |name| tasks.contains_key(name))) else {
                break;
            };
            self.remove(&oldest);
        }
        // Names of tasks that have gone otherwise stay in the queues; they must not gather.
        let bound = self.most.saturating_mul(2);
        for queue in [&mut self.ended, &mut self.came] {
            if queue.len() > bound {
                let tasks = &self.tasks;
                queue.retain(|name| tasks.contains_key(name));
                queue.truncate(bound);
            }
        }
        before - self.tasks.len()
    }
}

/// The first name that still counts.
fn pop(queue: &mut VecDeque<Box<str>>, counts: impl Fn(&str) -> bool) -> Option<Box<str>> {
    while let Some(name) = queue.pop_front() {
        if counts(&name) {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::value::TaskState;
    use super::super::value::tests::task;
    use super::*;

    fn with(name: &str, state: TaskState) -> Task {
        Task { state, context: Some("c".into()), ..task(name) }
    }

    #[test]
    fn the_oldest_that_ended_goes_first() {
        let mut table = Table::new(3);
        for (name, state) in
            [("a", TaskState::Working), ("b", TaskState::Completed), ("c", TaskState::Failed)]
        {
            assert_eq!(table.put(with(name, state)), 0);
        }
        assert_eq!(table.put(with("d", TaskState::Working)), 1);
        assert!(table.get("advisor/b").is_none());
        // Taken up again: it is not among those that ended any more.
        table.put(with("c", TaskState::Working));
        table.put(with("e", TaskState::Working));
        assert!(table.get("advisor/a").is_none(), "nothing has ended: the oldest goes");
        assert!(table.get("advisor/c").is_some());
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn a_context_is_known_as_long_as_one_of_its_tasks() {
        let mut table = Table::new(10);
        table.put(with("a", TaskState::Working));
        table.put(with("a", TaskState::Completed));
        table.put(with("b", TaskState::Working));
        table.remove("advisor/a");
        assert_eq!(&*table.context("advisor", "c").unwrap().principal, "analyst");
        assert!(table.context("other", "c").is_none());
        table.remove("advisor/b");
        assert!(table.context("advisor", "c").is_none());
    }

    #[test]
    fn what_is_old_is_told() {
        let mut table = Table::new(10);
        table.put(task("a"));
        let later = task("a").time + Duration::from_secs(10);
        assert_eq!(table.stale(later, Duration::from_secs(9), 5), [Box::from("advisor/a")]);
        assert!(table.stale(later, Duration::from_secs(10), 5).is_empty());
    }

    #[test]
    fn names_of_the_gone_do_not_gather() {
        let mut table = Table::new(4);
        for turn in 0..100 {
            table.put(with(&turn.to_string(), TaskState::Completed));
            table.remove(&format!("advisor/{turn}"));
        }
        assert!(table.came.len() <= 9 && table.ended.len() <= 9);
    }
}
