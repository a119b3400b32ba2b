//! The machine that a figure comes from, and this process's memory. Tells nothing where the system
//! does not.

use serde::Serialize;

/// A machine, as far as it is known.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Vector instructions that products may use.
    pub vectors: &'static str,
    /// As `x86_64-linux`.
    pub system: String,
    /// Main memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Version of copydesk, and how it was built.
    pub copydesk: String,
}

/// This process's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident now, in bytes.
    pub resident_bytes: Option<u64>,
    /// The most that was resident, in bytes.
    pub peak_bytes: Option<u64>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let build = match cfg!(debug_assertions) {
            true => " (debug build: no figure counts)",
            false => "",
        };
        Self {
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            vectors: vectors(),
            system: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            memory_bytes: read("/proc/meminfo").and_then(|t| kibibytes(&t, "MemTotal")),
            copydesk: format!("{}{build}", env!("CARGO_PKG_VERSION")),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.processor.as_deref().unwrap_or("unknown processor");
        write!(f, "{name}, {} cores, {}", self.cores, self.system)?;
        if !self.vectors.is_empty() {
            write!(f, ", {}", self.vectors)?;
        }
        if let Some(bytes) = self.memory_bytes {
            write!(f, ", {:.0} GiB", bytes as f64 / f64::from(1 << 30))?;
        }
        Ok(())
    }
}

impl Memory {
    /// Of this process, now; only Linux tells.
    pub fn now() -> Self {
        let Some(status) = read("/proc/self/status") else {
            return Self::default();
        };
        Self {
            resident_bytes: kibibytes(&status, "VmRSS"),
            peak_bytes: kibibytes(&status, "VmHWM"),
        }
    }
}

fn read(path: &str) -> Option<String> {
    cfg!(target_os = "linux")
        .then(|| std::fs::read_to_string(path).ok())
        .flatten()
}

/// The value of a line as `VmRSS:    1234 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = field(text, name)?.strip_suffix("kB")?;
    value.trim().parse::<u64>().ok().map(|k| k * 1024)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let mut values = lines.filter(|(field, _)| field.trim() == name);
    values.next().map(|(_, value)| value.trim())
}

fn processor() -> Option<String> {
    field(&read("/proc/cpuinfo")?, "model name").map(str::to_owned)
}

#[cfg(target_arch = "x86_64")]
fn vectors() -> &'static str {
    if std::is_x86_feature_detected!("avx512f") {
        "AVX-512"
    } else if std::is_x86_feature_detected!("avx2") {
        "AVX2"
    } else {
        ""
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn vectors() -> &'static str {
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\tcopydesk\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\n";
        assert_eq!(kibibytes(status, "VmRSS"), Some(1 << 20));
        assert_eq!(kibibytes(status, "VmHWM"), Some(2 << 20));
        assert_eq!(kibibytes(status, "Name"), None);
        assert_eq!(kibibytes(status, "VmSwap"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_some() {
        let Memory {
            resident_bytes,
            peak_bytes,
        } = Memory::now();
        assert!(resident_bytes.is_some_and(|b| b > 0));
        // The two are counted at different moments, so they need not agree to the page.
        assert!(peak_bytes.is_some_and(|b| b > 0));
    }
}
