//! Writes `docs/configuration.md`: `make docs`.

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let path = e2e::reference::path();
    std::fs::write(&path, e2e::reference::page()?)
        .with_context(|| format!("write {}", path.display()))
}
