//! Compiles the contract in `proto/` to Rust; needs no `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "grpc")]
    compile_contract()?;
    Ok(())
}

/// Writes `copydesk.v1.rs` and, for reflection, `copydesk.v1.bin` into `OUT_DIR`.
#[cfg(feature = "grpc")]
fn compile_contract() -> Result<(), Box<dyn std::error::Error>> {
    use protox::prost::Message;

    println!("cargo:rerun-if-changed=proto");
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let files = ["classifier", "article", "answer", "model", "error"]
        .map(|name| format!("copydesk/v1/{name}.proto"));
    let contract = protox::compile(files, ["proto", "proto/third_party"])?;
    std::fs::write(out.join("copydesk.v1.bin"), contract.encode_to_vec())?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds(contract)?;
    Ok(())
}
