//! The layers hold: imports run one way, and each library stays in its room.

use std::path::{Path, PathBuf};

/// From the outermost in. A module may use those that stand after it.
const LAYERS: [&[&str]; 11] = [
    &["main"],
    &["cli"],
    &["bench"],
    &["grpc", "render", "eval", "hub"],
    &["telemetry"],
    &["classifier"],
    &["engine"],
    &["model"],
    &["encode"],
    &["party", "quote", "article", "answer"],
    &["segment", "span"],
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("src").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// (module of the first level, its text without tests)
fn modules() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root)
        .into_iter()
        .filter(|p| !p.ends_with("tests.rs"));
    files
        .map(|path| {
            let inside = path
                .strip_prefix(&root)
                .expect("under src")
                .to_string_lossy()
                .into_owned();
            let module = inside
                .split(['/', '.'])
                .next()
                .unwrap_or_default()
                .to_owned();
            let text = std::fs::read_to_string(&path).expect("a source file");
            let code = text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or_default()
                .to_owned();
            (module, code)
        })
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|l| l.contains(&module))
}

#[test]
fn imports_run_one_way() {
    let mut wrong = Vec::new();
    for (module, code) in modules() {
        let Some(own) = layer(&module) else {
            assert_eq!(module, "lib", "{module} has no layer");
            continue;
        };
        for used in code.match_indices("crate::").map(|(at, _)| &code[at + 7..]) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            // Labels are the vocabulary of all.
            let shared = used == "answer" || used == "span" || used == "article";
            if layer(&used).is_some_and(|l| l < own || (l == own && used != module && !shared))
                && !shared
            {
                wrong.push(format!("{module} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_command_line_measures() {
    for (module, code) in modules() {
        let uses = code.contains("crate::bench");
        assert!(
            !uses || ["bench", "cli"].contains(&module.as_str()),
            "{module} uses bench"
        );
    }
}

#[test]
fn libraries_stay_in_their_rooms() {
    let rooms: [(&str, &[&str]); 20] = [
        ("tonic::", &["grpc", "cli"]),
        ("rustls::", &["grpc"]),
        ("subtle::", &["grpc"]),
        ("prometheus_client::", &["telemetry"]),
        ("hyper::", &["telemetry"]),
        ("opentelemetry", &["telemetry"]),
        ("webpki::", &["grpc"]),
        ("clap::", &["cli"]),
        ("candle_", &["model"]),
        ("tokenizers::", &["encode"]),
        ("hf_hub::", &["hub"]),
        (
            "tokio::",
            &[
                "engine",
                "classifier",
                "telemetry",
                "grpc",
                "hub",
                "cli",
                "bench",
            ],
        ),
        ("copydesk_kernels::", &["model", "bench"]),
        ("gemm::", &["model", "bench"]),
        ("plotters::", &["render"]),
        ("hdrhistogram::", &["bench"]),
        ("arrow_", &["render", "cli"]),
        ("flate2::", &["cli"]),
        ("zstd::", &["cli"]),
        ("indicatif::", &["cli"]),
    ];
    for (module, code) in modules().iter().filter(|(m, _)| m != "lib") {
        for (library, allowed) in rooms {
            let uses = code
                .lines()
                .any(|l| !l.trim_start().starts_with("//") && l.contains(library));
            assert!(
                !uses || allowed.contains(&module.as_str()),
                "{module} uses {library}"
            );
        }
    }
}
