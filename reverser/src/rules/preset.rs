//! What `resources: ["*"]` means, and what it never means.

/// Group and resource of each type that `*` selects unless `--watch-all` is given: what people
/// declare. Everything else is named outright.
pub(super) const INCLUDED: &[(&str, &str)] = &[
    ("", "configmaps"),
    ("", "limitranges"),
    ("", "resourcequotas"),
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("apps", "daemonsets"),
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "networkpolicies"),
    ("policy", "poddisruptionbudgets"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "storageclasses"),
];

/// Resources that `*` never selects: controllers and nodes write them all the time, and nobody
/// declares them. Those that a rule names outright are watched all the same.
pub(super) const EXCLUDED: &[&str] = &[
    "pods",
    "events",
    "endpoints",
    "endpointslices",
    "leases",
    "controllerrevisions",
    "flowschemas",
    "prioritylevelconfigurations",
    "jobs",
    "cronjobs",
];
