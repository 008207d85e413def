//! Flags of `snapshot`, each with an environment variable: `GITOPS_REVERSER_` and the flag in upper case.

use std::path::PathBuf;

use clap::Args;

use crate::api::SecretPolicy;
use crate::commit::Signature;
use crate::secrets::{Recipient, SensitiveType};

/// What no flag says.
pub const AFTER_HELP: &str = "\
Exit code: 0 done, or with --diff no difference; 1 with --diff: they differ; 2 an error, or a part of the cluster could
not be read, whose files stay as they are.

Credentials for Git: --credentials-dir, and $GITOPS_REVERSER_GIT_USERNAME, $GITOPS_REVERSER_GIT_PASSWORD and
$GITOPS_REVERSER_GIT_BEARER_TOKEN, which win over files. Never a flag, which others on the machine could read.";

/// What to export from where to where.
#[derive(Clone, Debug, Args)]
pub struct SnapshotArgs {
    /// The repository: https://, http://, ssh://, git@host:path or file://
    #[arg(long, env = "GITOPS_REVERSER_REPO", value_name = "URL")]
    pub repo: String,

    /// The branch; made from the default branch where it is missing
    #[arg(long, env = "GITOPS_REVERSER_BRANCH", default_value = "main")]
    pub branch: String,

    /// The folder in the repository, which holds nothing else afterwards that looks like a manifest of a snapshot
    #[arg(long, env = "GITOPS_REVERSER_FOLDER")]
    pub folder: String,

    /// Write nothing; print the files that would be added (A), modified (M) or deleted (D), and exit with 1 if there are any
    #[arg(long, env = "GITOPS_REVERSER_DIFF", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub diff: bool,

    /// A namespace; repeated, or separated by commas. Without any: all of them, and objects that are in none
    #[arg(long, short, env = "GITOPS_REVERSER_NAMESPACE", value_delimiter = ',')]
    pub namespace: Vec<String>,

    /// A resource (`deployments`, `deployments.apps` or `deployments.v1.apps`) in place of the preset; repeated, or separated by commas
    #[arg(
        long,
        env = "GITOPS_REVERSER_RESOURCE",
        value_delimiter = ',',
        conflicts_with = "all_types"
    )]
    pub resource: Vec<ResourceName>,

    /// Everything that the cluster serves in place of the preset, as --watch-all for the operator
    #[arg(long, env = "GITOPS_REVERSER_ALL_TYPES", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub all_types: bool,

    /// A resource (`jobs` or `jobs.batch`) that is left out of the preset or of --all-types; repeated, or separated by commas
    #[arg(long, env = "GITOPS_REVERSER_DISCOVERY_EXCLUDE", value_delimiter = ',')]
    pub discovery_exclude: Vec<String>,

    /// Types that may not be listed are no error. Their files stay as they are
    #[arg(long, env = "GITOPS_REVERSER_SKIP_FORBIDDEN", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub skip_forbidden: bool,

    /// Files of types and namespaces that are not selected stay as they are, and are no difference
    #[arg(long, env = "GITOPS_REVERSER_KEEP_UNSELECTED", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub keep_unselected: bool,

    /// What becomes of Secrets: Redact, Encrypt, Omit or Plain. Default: Encrypt with --age-recipients, Redact with --redaction-key-file,
    /// else Omit
    #[arg(long, env = "GITOPS_REVERSER_SECRET_POLICY", value_parser = parse_policy, value_name = "POLICY")]
    pub secret_policy: Option<SecretPolicy>,

    /// A file with the key of the digests that stand for redacted values; the operator's, to compare with what it writes
    #[arg(long, env = "GITOPS_REVERSER_REDACTION_KEY_FILE", value_name = "FILE")]
    pub redaction_key_file: Option<PathBuf>,

    /// A public key (age1…) for which Secrets are encrypted; needs the operator's --redaction-key-file too; repeated, or separated by
    /// commas
    #[arg(
        long,
        env = "GITOPS_REVERSER_AGE_RECIPIENTS",
        value_delimiter = ',',
        requires = "redaction_key_file"
    )]
    pub age_recipients: Vec<Recipient>,

    /// A type (`tokens.example.com`) whose values are as secret as those of Secrets; repeated, or separated by commas
    #[arg(
        long,
        env = "GITOPS_REVERSER_SENSITIVE_RESOURCES",
        value_delimiter = ','
    )]
    pub sensitive_resources: Vec<SensitiveType>,

    /// Also write what the cluster makes for itself and makes again
    #[arg(long, env = "GITOPS_REVERSER_WRITE_CLUSTER_MADE", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub write_cluster_made: bool,

    /// Whom the folder may be taken from: the cluster, or the GitDestination of this cluster, that its marker names
    #[arg(long, env = "GITOPS_REVERSER_TAKE_OVER", value_name = "OWNER")]
    pub take_over: Option<String>,

    /// A kubeconfig file; without it $KUBECONFIG, else ~/.kube/config, else the ServiceAccount of the pod
    #[arg(long, env = "GITOPS_REVERSER_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig in place of its current one
    #[arg(long, env = "GITOPS_REVERSER_CONTEXT")]
    pub context: Option<String>,

    /// A directory with a file for each key of a Secret with Git credentials: username, password, bearerToken, ssh-privatekey,
    /// ssh-password, known_hosts, ca.crt
    #[arg(
        long,
        env = "GITOPS_REVERSER_CREDENTIALS_DIR",
        value_name = "DIRECTORY"
    )]
    pub credentials_dir: Option<PathBuf>,

    /// Author and committer
    #[arg(long, env = "GITOPS_REVERSER_AUTHOR", value_parser = parse_author, value_name = "NAME <ADDRESS>",
          default_value = "GitOps Reverser <gitops-reverser@cluster.local>")]
    pub author: Signature,

    /// The first line of the commit message. Default: which cluster, and how many objects
    #[arg(long, env = "GITOPS_REVERSER_MESSAGE")]
    pub message: Option<String>,

    /// Where the clone is kept for the next time. Default: a directory that is removed at the end
    #[arg(long, env = "GITOPS_REVERSER_WORK_DIR", value_name = "DIRECTORY")]
    pub work_dir: Option<PathBuf>,

    /// A level (error, warn, info, debug, trace) or a filter such as warn,reverser::git=debug
    // The client's own words on what we report ourselves are of no use to anybody.
    #[arg(
        long,
        env = "GITOPS_REVERSER_LOG_LEVEL",
        default_value = "warn,kube_client=off"
    )]
    pub log_level: String,
}

/// A resource as kubectl takes it: plural, perhaps version, perhaps group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceName {
    /// Plural.
    pub resource: String,
    /// Of any group where there is none.
    pub group: Option<String>,
    /// The preferred one where there is none.
    pub version: Option<String>,
}

impl std::str::FromStr for ResourceName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        let parts: Vec<&str> = text.splitn(3, '.').collect();
        if !text.chars().all(word) || text.split('.').any(str::is_empty) {
            return Err(
                "a resource is written as its plural, its version where need be, and its group: deployments.v1.apps",
            );
        }
        let (version, group) = match parts.as_slice() {
            [_, version, group] if manifest::is_api_version(version) => {
                (Some(*version), Some((*group).to_owned()))
            }
            // Of the core group, which has no name.
            [_, version] if manifest::is_api_version(version) => {
                (Some(*version), Some(String::new()))
            }
            [_, rest @ ..] if !rest.is_empty() => (None, Some(rest.join("."))),
            _ => (None, None),
        };
        Ok(Self {
            resource: parts[0].to_owned(),
            group,
            version: version.map(ToOwned::to_owned),
        })
    }
}

fn parse_policy(text: &str) -> Result<SecretPolicy, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "redact" => Ok(SecretPolicy::Redact),
        "encrypt" => Ok(SecretPolicy::Encrypt),
        "omit" => Ok(SecretPolicy::Omit),
        "plain" => Ok(SecretPolicy::Plain),
        _ => Err("Redact, Encrypt, Omit or Plain"),
    }
}

fn parse_author(text: &str) -> Result<Signature, &'static str> {
    let wrong = "a name and an address as Git writes them: Jane Doe <jane@example.com>";
    let (name, address) = text
        .strip_suffix('>')
        .and_then(|text| text.split_once('<'))
        .ok_or(wrong)?;
    let (name, email) = (name.trim().to_owned(), address.trim().to_owned());
    let fits = |text: &str| !text.contains(['<', '>']) && !text.chars().any(char::is_control);
    if !fits(&name) || !fits(&email) || git2::Signature::now(&name, &email).is_err() {
        return Err(wrong);
    }
    Ok(Signature { name, email })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::{Args as Top, Command};

    fn parse(flags: &[&str]) -> Result<SnapshotArgs, clap::Error> {
        use clap::Parser;
        let flags = [&["x", "snapshot", "--repo=file:///r", "--folder=f"], flags].concat();
        Top::try_parse_from(flags).map(|args| match args.command {
            Some(Command::Snapshot(args)) => *args,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn every_flag_has_a_variable_and_a_line_of_help() {
        let command = Top::command();
        let commands = command.get_subcommands();
        for argument in commands.flat_map(clap::Command::get_arguments) {
            let long = argument.get_long().unwrap();
            if long == "help" {
                continue;
            }
            let variable = format!("GITOPS_REVERSER_{}", long.to_uppercase().replace('-', "_"));
            let env = argument.get_env().and_then(|env| env.to_str());
            assert_eq!(env, Some(variable.as_str()));
            assert!(argument.get_help().is_some(), "{long}");
        }
    }

    #[test]
    fn flags_of_the_operator_do_not_go_with_it() {
        use clap::Parser;
        let mixed = [
            "x",
            "--watch-all",
            "snapshot",
            "--repo=file:///r",
            "--folder=f",
        ];
        assert!(Top::try_parse_from(mixed).is_err());
        assert!(Top::try_parse_from(["x"]).unwrap().command.is_none());
        assert!(!parse(&[]).unwrap().diff);
        assert!(parse(&["--diff"]).unwrap().diff);
        assert!(parse(&["--all-types", "--resource=pods"]).is_err());
    }

    #[test]
    fn a_resource_is_read_as_kubectl_reads_it() {
        let read = |text: &str| {
            text.parse::<ResourceName>()
                .map(|r| (r.resource, r.version, r.group))
        };
        let some = |text: &str| Some(text.to_owned());
        for (text, version, group) in [
            ("pods", None, None),
            ("deployments.apps", None, some("apps")),
            ("deployments.v1.apps", some("v1"), some("apps")),
            ("configmaps.v1", some("v1"), some("")),
            ("issuers.cert-manager.io", None, some("cert-manager.io")),
            (
                "roles.v1.rbac.authorization.k8s.io",
                some("v1"),
                some("rbac.authorization.k8s.io"),
            ),
        ] {
            let resource = text.split('.').next().unwrap().to_owned();
            assert_eq!(read(text), Ok((resource, version, group)), "{text}");
        }
        for bad in ["", ".", "pods.", "a/b", "*", "a b"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_author_is_a_name_and_an_address() {
        let jane = parse_author("Jane Doe <jane@example.com>").unwrap();
        assert_eq!(
            (jane.name.as_str(), jane.email.as_str()),
            ("Jane Doe", "jane@example.com")
        );
        for bad in ["", "Jane", "<>", "Jane <>", "a <b> <c>", "a\nb <c@d>"] {
            assert!(parse_author(bad).is_err(), "{bad}");
        }
    }
}
