//! The binary: everything is in the library.

use std::process::ExitCode;

/// Tensors are large and short-lived: the system's allocator gives each back to the kernel and
/// takes a page fault a page for the next one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    copydesk::cli::main()
}
