//! The flag of the page for a browser.

use std::net::SocketAddr;

use clap::Args;
use tokio::net::TcpListener;

use super::super::Failure;
use crate::grpc::server::{self, Config};
use crate::grpc::ui::Page;
use crate::render::html;

/// Whether there is one, and where.
#[derive(Args)]
pub(super) struct Ui {
    /// Also serve a page on which to paste an article and watch its answer come; without ADDR at
    /// 127.0.0.1:50080. TLS, tokens and limits hold there too.
    #[arg(
        long,
        value_name = "ADDR",
        num_args = 0..=1,
        default_missing_value = "127.0.0.1:50080",
        env = "COPYDESK_UI"
    )]
    ui: Option<SocketAddr>,
}

impl Ui {
    pub fn address(&self) -> Option<SocketAddr> {
        self.ui
    }

    /// Says what is likely not meant.
    pub fn warn(&self, config: &Config) {
        let open = config.tokens.is_none();
        if open && self.ui.is_some_and(|address| !address.ip().is_loopback()) {
            tracing::warn!(
                "the page answers whoever reaches its address; use --auth-tokens, or an address of this machine"
            );
        }
    }

    /// Listens, and says where.
    pub async fn listen(self, tls: bool) -> Result<Option<(TcpListener, Page)>, Failure> {
        let Some(address) = self.ui else {
            return Ok(None);
        };
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| format!("cannot listen on {address} for the page: {error}"))?;
        let written = html::Ui::new();
        let page = Page::new(written.html, &written.policy)
            .map_err(|error| format!("the page cannot be served: {error}"))?;
        let scheme = if tls { "https" } else { "http" };
        tracing::info!(page = %format!("{scheme}://{}/", server::address(&listener)?), "a page for a browser");
        Ok(Some((listener, page)))
    }
}
