//! Runs one of the pinned programs of the test bed, building it first if need be: `tool helm lint …`, `tool grpcurl …`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, bail};
use tests::assets::{Assets, Tool};

const TOOLS: [Tool; 8] = [
    Tool::Etcd,
    Tool::KubeApiserver,
    Tool::KubeControllerManager,
    Tool::Kubectl,
    Tool::Helm,
    Tool::Grpcurl,
    Tool::Sops,
    Tool::AgeKeygen,
];

fn main() -> Result<()> {
    let mut args = std::env::args_os().skip(1);
    let name = args.next().context("usage: tool NAME [ARGUMENT…]")?;
    let Some(tool) = TOOLS.into_iter().find(|tool| *tool.name() == *name) else {
        let names = TOOLS.map(Tool::name).join(", ");
        bail!("there is no {}; there are {names}", name.display());
    };
    let program = Assets::locate()?.get(tool)?;
    Err(Command::new(program).args(args).exec()).with_context(|| format!("run {}", tool.name()))
}
