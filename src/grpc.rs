//! The service over gRPC: converts requests and answers, maps errors to statuses, and runs the
//! server, with a page for a browser where one is asked for. Decides nothing about articles.

mod activity;
mod apart;
mod arrival;
pub mod auth;
pub mod client;
mod convert;
mod corpus;
mod deadline;
mod gate;
mod gauges;
mod listener;
pub mod open_inference;
mod pem;
mod reload;
pub mod server;
mod service;
pub mod status;
pub mod tls;
pub mod ui;
mod watched;

pub use self::gauges::Gauges;
pub use self::service::Service;

/// The contract, generated from `proto/copydesk/v1`.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::unwrap_used)]
pub mod pb {
    tonic::include_proto!("copydesk.v1");
    /// The contract's descriptors, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("copydesk.v1");
}
