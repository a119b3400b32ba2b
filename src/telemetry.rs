//! What the server tells of itself to those who run it. Watches calls and the engine; decides
//! nothing, and sees no text.

use std::fmt::Debug;
use std::time::Duration;

#[cfg(feature = "metrics")]
pub mod metrics;

/// Is told of calls. Methods are `package.Service/Method` of the contract, all others one name, so
/// that callers cannot make up new ones.
pub trait Observer: Debug + Send + Sync {
    /// A call began.
    fn began(&self, method: &'static str);

    /// The first message of its answer left.
    fn first(&self, method: &'static str, after: Duration);

    /// It ended, with the name of a gRPC code. `CANCELLED` as well where the client left.
    fn ended(&self, method: &'static str, code: &'static str, after: Duration);

    /// A call, or one article of it, failed for a reason of the contract (`QUEUE_FULL`).
    fn failed(&self, reason: &str);
}
