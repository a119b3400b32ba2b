//! Compiles the contracts in `proto/` to Rust; needs no `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "grpc")]
    compile_contracts()?;
    Ok(())
}

/// Writes `copydesk.v1.rs`, `inference.rs` and, for reflection, `copydesk.v1.bin` and
/// `inference.bin` into `OUT_DIR`.
#[cfg(feature = "grpc")]
fn compile_contracts() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let ours = ["classifier", "article", "answer", "model", "error"]
        .map(|name| format!("copydesk/v1/{name}.proto"));
    compile("copydesk.v1", &ours, &["proto", "proto/third_party"])?;
    let theirs = ["grpc_service.proto".to_owned()];
    compile("inference", &theirs, &["proto/third_party/triton"])
}

/// Compiles the files of one package.
#[cfg(feature = "grpc")]
fn compile(
    package: &str,
    files: &[String],
    roots: &[&str],
) -> Result<(), Box<dyn std::error::Error>> {
    use protox::prost::Message;

    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let contract = protox::compile(files, roots)?;
    std::fs::write(out.join(format!("{package}.bin")), contract.encode_to_vec())?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(contract)?;
    Ok(())
}
