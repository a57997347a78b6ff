//! Who calls, and whether they may: `Checked` to `Permitted`, or a refusal.
//!
//! [`Authenticator`] turns headers into a [`Principal`], the one type that nothing else can make.
//! [`Policies`] holds the Cedar policies of a folder, decides on principal, action, resource and
//! arguments, and is the only maker of [`Permitted`]. [`RateLimiter`] keeps each caller to its share.
//!
//! No header, path or argument turns any of this off: there is no bypass value, and every doubt
//! (two credentials, an argument that cannot be compared, a policy that cannot be evaluated) is a
//! refusal.

mod action;
mod analysis;
mod book;
mod cache;
mod cases;
mod decision;
mod entities;
mod identity;
mod judge;
mod limits;
mod load;
mod metrics;
mod mistake;
mod permit;
mod policies;
mod schema;
mod slices;
#[cfg(test)]
mod tests;
mod value;

pub use action::{Action, Resource};
pub use cases::{TestReport, run_tests};
pub use decision::{Cause, Decision};
pub use identity::{Authenticator, IdentityError, Principal, Unauthenticated};
pub use limits::{RateLimited, RateLimiter};
pub use metrics::Metrics;
pub use mistake::{Mistake, PolicyError};
pub use permit::{Denied, Permitted, Subject};
pub use policies::Policies;
