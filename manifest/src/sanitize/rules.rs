//! The deny-list. What no rule names stays.
//!
//! To extend it, add a row: what goes, of which kinds, and since when it is no person's intent. Paths
//! of sources are in the kubernetes/kubernetes repository (v1.34) unless they name another.

use std::fmt;

/// One row of the deny-list: what goes, why, and where that is written down.
///
/// Its text is for a table in the documentation: what goes, of which objects, when.
pub struct Rule {
    pub(super) of: Of,
    pub(super) target: Target,
    pub(super) when: When,
    reason: &'static str,
    source: &'static str,
}

/// The objects that a rule is for.
pub(super) enum Of {
    Every,
    /// Of this group (empty for core) and kind, at any version.
    Kind(&'static str, &'static str),
}

pub(super) enum Target {
    /// A path from the object's top. `[]` stands for each item of a list, `*` for each key of a map.
    Field(&'static [&'static str]),
    /// A key of `metadata.annotations`.
    Annotation(&'static str),
    /// A key of `metadata.labels`.
    Label(&'static str),
    /// An item of `metadata.finalizers`.
    Finalizer(&'static str),
    /// A key of any `metadata` map below the object's own, where its value is null.
    NullInEmbeddedMetadata(&'static str),
}

pub(super) enum When {
    Always,
    /// Only in objects in which this field has this value.
    Where(&'static [&'static str], &'static str),
    /// Only where it is a list of just this text.
    Just(&'static str),
    /// Only where it is null or an empty list.
    Empty,
    /// Only in objects that have this field.
    With(&'static str),
    /// Only items in which this field has one of these values.
    Named(&'static str, &'static [&'static str]),
    /// Unless a field manager owns it that is no known controller, or there is other evidence of
    /// intent.
    Allocated(&'static [Intent]),
}

/// Evidence that a person means a value which the cluster else allocates.
pub(super) enum Intent {
    /// The value itself: the cluster never allocates this one.
    Text(&'static str),
    /// A person set this field as well, which is not valid alone.
    Beside(&'static [&'static str]),
    /// The item's name does not begin like this: the cluster's always does.
    NamedOtherThan(&'static str),
}

impl Rule {
    /// Why no person meant it, or why another cluster could not take it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// Where that is written down.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.source
    }

    const fn only_where(self, path: &'static [&'static str], value: &'static str) -> Self {
        Self {
            when: When::Where(path, value),
            ..self
        }
    }

    const fn only_just(self, text: &'static str) -> Self {
        Self {
            when: When::Just(text),
            ..self
        }
    }

    const fn only_with(self, field: &'static str) -> Self {
        Self {
            when: When::With(field),
            ..self
        }
    }

    const fn only_named(self, key: &'static str, values: &'static [&'static str]) -> Self {
        Self {
            when: When::Named(key, values),
            ..self
        }
    }

    const fn unless(self, intents: &'static [Intent]) -> Self {
        Self {
            when: When::Allocated(intents),
            ..self
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Target::Field(path) => f.write_str(&path.join(".").replace(".[]", "[]"))?,
            Target::Annotation(key) => write!(f, "annotation {key}")?,
            Target::Label(key) => write!(f, "label {key}")?,
            Target::Finalizer(name) => write!(f, "finalizer {name}")?,
            Target::NullInEmbeddedMetadata(key) => write!(f, "{key}: null in templates")?,
        }
        if let Of::Kind(_, kind) = self.of {
            write!(f, " of {kind}")?;
        }
        match self.when {
            When::Always => Ok(()),
            When::Where(path, value) => write!(f, " where {} is {value}", path.join(".")),
            When::Just(text) => write!(f, " where it is [{text}]"),
            When::Empty => f.write_str(" where it is empty"),
            When::With(field) => write!(f, " with {field}"),
            When::Named(key, values) => write!(f, " where {key} is {}", values.join(", ")),
            When::Allocated(_) => f.write_str(", unless somebody set it"),
        }
    }
}

const fn always(of: Of, target: Target, reason: &'static str, source: &'static str) -> Rule {
    Rule {
        of,
        target,
        when: When::Always,
        reason,
        source,
    }
}

const fn field(path: &'static [&'static str], reason: &'static str, source: &'static str) -> Rule {
    always(Of::Every, Target::Field(path), reason, source)
}

const fn annotation(key: &'static str, reason: &'static str, source: &'static str) -> Rule {
    always(Of::Every, Target::Annotation(key), reason, source)
}

const fn finalizer(name: &'static str, reason: &'static str, source: &'static str) -> Rule {
    always(Of::Every, Target::Finalizer(name), reason, source)
}

const fn allocated(
    of: Of,
    path: &'static [&'static str],
    reason: &'static str,
    source: &'static str,
) -> Rule {
    Rule {
        of,
        target: Target::Field(path),
        when: When::Allocated(&[]),
        reason,
        source,
    }
}

/// Fields that are written though they may be empty: as `[]` when admitted, as null once they were stored.
const fn empty(of: Of, path: &'static [&'static str], source: &'static str) -> Rule {
    Rule {
        of,
        target: Target::Field(path),
        when: When::Empty,
        reason: "admitted as [], shown as null",
        source,
    }
}

const SERVICE: Of = Of::Kind("", "Service");
const CLAIM: Of = Of::Kind("", "PersistentVolumeClaim");
const VOLUME: Of = Of::Kind("", "PersistentVolume");
const POD: Of = Of::Kind("", "Pod");
const NODE: Of = Of::Kind("", "Node");
const NAMESPACE: Of = Of::Kind("", "Namespace");
const JOB: Of = Of::Kind("batch", "Job");

const CLUSTER_ROLE: Of = Of::Kind("rbac.authorization.k8s.io", "ClusterRole");
const SLICE: Of = Of::Kind("discovery.k8s.io", "EndpointSlice");
const CSI_NODE: Of = Of::Kind("storage.k8s.io", "CSINode");
const REQUEST: Of = Of::Kind("certificates.k8s.io", "CertificateSigningRequest");

/// What the ServiceAccount admission plugin calls the volume of its own.
const TOKEN: &[Intent] = &[Intent::NamedOtherThan("kube-api-access-")];

/// Taints by which controllers tell nodes' conditions, or a kubelet that its cloud has not been asked yet.
const CONDITION_TAINTS: &[&str] = &[
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/pid-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.cloudprovider.kubernetes.io/shutdown",
    "node.cloudprovider.kubernetes.io/uninitialized",
];

const OBJECT_META: &str = "API reference, ObjectMeta";
const WELL_KNOWN: &str = "kubernetes.io, Well-Known Labels, Annotations and Taints";
const SERVICE_ALLOC: &str = "pkg/registry/core/service/storage/alloc.go";
const POD_ACCOUNT: &str = "plugin/pkg/admission/serviceaccount";
const REQUEST_STRATEGY: &str = "pkg/registry/certificates/certificates/strategy.go";
const JOB_STRATEGY: &str = "pkg/registry/batch/job/strategy.go, generateSelector";

/// Every rule. Order has no meaning.
#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    // What the API server keeps about an object.
    field(&["status"], "what controllers observed", "API conventions, Spec and Status"),
    field(&["metadata", "uid"], "one per life of an object", OBJECT_META),
    field(&["metadata", "resourceVersion"], "one per write", OBJECT_META),
    field(&["metadata", "generation"], "counts changes of the spec", OBJECT_META),
    field(&["metadata", "creationTimestamp"], "set by the server", OBJECT_META),
    field(&["metadata", "deletionTimestamp"], "set by the server", OBJECT_META),
    field(&["metadata", "deletionGracePeriodSeconds"], "set by the server", OBJECT_META),
    field(&["metadata", "managedFields"], "kept by the server; no apply may send it", OBJECT_META),
    field(&["metadata", "selfLink"], "filled in by old servers", OBJECT_META),
    field(&["metadata", "generateName"], "spent once the name is there", OBJECT_META),
    field(&["metadata", "ownerReferences"], "names owners by uid: elsewhere the garbage collector would delete the object", OBJECT_META),
    field(&["metadata", "clusterName"], "never used, dropped in 1.24", OBJECT_META),
    always(Of::Every, Target::NullInEmbeddedMetadata("creationTimestamp"), "how older servers write an unset time", "apimachinery, meta/v1 Time.MarshalJSON"),
    always(Of::Kind("apps", "StatefulSet"), Target::Field(&["spec", "volumeClaimTemplates", "[]", "status"]), "a template has no state; defaulted to Pending", "pkg/apis/core/v1/defaults.go, SetDefaults_PersistentVolumeClaim"),

    // Annotations that machines write.
    annotation("kubectl.kubernetes.io/last-applied-configuration", "a second copy of the object, kept by kubectl apply", WELL_KNOWN),
    annotation("objectset.rio.cattle.io/applied", "a second copy of the object, kept by Rancher's apply", "rancher/wrangler, pkg/apply"),
    annotation("deployment.kubernetes.io/revision", "counted by the deployment controller", "pkg/controller/deployment/util/deployment_util.go"),
    annotation("deployment.kubernetes.io/revision-history", "counted by the deployment controller", "pkg/controller/deployment/util/deployment_util.go"),
    annotation("deployment.kubernetes.io/desired-replicas", "copied from the Deployment to its ReplicaSets", "pkg/controller/deployment/util/deployment_util.go"),
    annotation("deployment.kubernetes.io/max-replicas", "copied from the Deployment to its ReplicaSets", "pkg/controller/deployment/util/deployment_util.go"),
    annotation("deprecated.daemonset.template.generation", "counted for the extensions/v1beta1 API", "pkg/apis/apps/v1/conversion.go"),
    annotation("control-plane.alpha.kubernetes.io/leader", "a leader election's heartbeat", "client-go, tools/leaderelection/resourcelock"),
    annotation("endpoints.kubernetes.io/last-change-trigger-time", "a measuring mark", WELL_KNOWN),
    annotation("endpoints.kubernetes.io/over-capacity", "set by the endpoints controller", WELL_KNOWN),
    annotation("autoscaling.alpha.kubernetes.io/conditions", "status of an HPA, as older versions carry it", "pkg/apis/autoscaling/annotations.go"),
    annotation("autoscaling.alpha.kubernetes.io/current-metrics", "status of an HPA, as older versions carry it", "pkg/apis/autoscaling/annotations.go"),
    annotation("batch.kubernetes.io/job-tracking", "set by the job controller", WELL_KNOWN),
    annotation("batch.kubernetes.io/cronjob-scheduled-timestamp", "set by the cronjob controller", WELL_KNOWN),
    annotation("kubernetes.io/service-account.uid", "names an account of this cluster: elsewhere the token would be deleted", WELL_KNOWN),
    annotation("pv.kubernetes.io/bind-completed", "a step of binding a claim", WELL_KNOWN),
    annotation("pv.kubernetes.io/bound-by-controller", "a step of binding a claim", WELL_KNOWN),
    annotation("volume.beta.kubernetes.io/storage-provisioner", "copied from the storage class", WELL_KNOWN),
    annotation("volume.kubernetes.io/storage-provisioner", "copied from the storage class", WELL_KNOWN),
    annotation("volume.kubernetes.io/selected-node", "the scheduler's choice of a node", WELL_KNOWN),
    annotation("storage.alpha.kubernetes.io/migrated-plugins", "set by the kubelet and the attach-detach controller", WELL_KNOWN),
    annotation("kubernetes.io/limit-ranger", "says which limits the LimitRanger filled in", "plugin/pkg/admission/limitranger"),
    annotation("node.alpha.kubernetes.io/ttl", "set by the node TTL controller", WELL_KNOWN),
    annotation("volumes.kubernetes.io/controller-managed-attach-detach", "set by the kubelet", WELL_KNOWN),
    annotation("csi.volume.kubernetes.io/nodeid", "set by the kubelet", WELL_KNOWN),
    annotation("kubernetes.io/config.seen", "set by the kubelet", WELL_KNOWN),
    annotation("kubernetes.io/config.hash", "set by the kubelet", WELL_KNOWN),
    annotation("kubernetes.io/config.source", "set by the kubelet", WELL_KNOWN),
    annotation("kubernetes.io/config.mirror", "set by the kubelet", WELL_KNOWN),
    annotation("field.cattle.io/publicEndpoints", "status, kept by Rancher", "rancher/rancher, pkg/controllers/managementagent/endpoints"),
    always(NAMESPACE, Target::Annotation("openshift.io/sa.scc.mcs"), "allocated from this cluster's ranges", "openshift/cluster-policy-controller, pkg/security"),
    always(NAMESPACE, Target::Annotation("openshift.io/sa.scc.supplemental-groups"), "allocated from this cluster's ranges", "openshift/cluster-policy-controller, pkg/security"),
    always(NAMESPACE, Target::Annotation("openshift.io/sa.scc.uid-range"), "allocated from this cluster's ranges", "openshift/cluster-policy-controller, pkg/security"),

    // Labels that the server writes.
    always(NAMESPACE, Target::Label("kubernetes.io/metadata.name"), "the name once more, set by the server", WELL_KNOWN),

    // Finalizers that controllers add and clear. All others hold somebody's intent and stay.
    finalizer("foregroundDeletion", "a step of a deletion", "apimachinery, meta/v1 FinalizerDeleteDependents"),
    finalizer("orphan", "a step of a deletion", "apimachinery, meta/v1 FinalizerOrphanDependents"),
    finalizer("kubernetes.io/pvc-protection", "added to each claim", "pkg/volume/util/finalizer.go"),
    finalizer("kubernetes.io/pv-protection", "added to each volume", "pkg/volume/util/finalizer.go"),
    finalizer("kubernetes.io/vac-protection", "added to each class", "pkg/volume/util/finalizer.go"),
    finalizer("kubernetes.io/pv-controller", "added by the volume controller", "component-helpers, storage/volume/pv_helpers.go"),
    finalizer("external-provisioner.volume.kubernetes.io/finalizer", "added by CSI's provisioner", "component-helpers, storage/volume/pv_helpers.go"),
    finalizer("service.kubernetes.io/load-balancer-cleanup", "added to load-balanced Services", "cloud-provider, service/helpers"),
    finalizer("customresourcecleanup.apiextensions.k8s.io", "added to each CRD", "apiextensions-apiserver, pkg/apis/apiextensions/v1/types.go"),
    finalizer("networking.k8s.io/service-cidr-finalizer", "added to each ServiceCIDR", "pkg/controller/servicecidrs"),
    finalizer("resource.kubernetes.io/delete-protection", "added to claims in use", "api, resource/v1/types.go"),
    finalizer("batch.kubernetes.io/job-tracking", "added to a Job's pods", "api, batch/v1/types.go"),

    // Values that the cluster allocates or picks. Another cluster would refuse them or pick others.
    allocated(SERVICE, &["spec", "clusterIP"], "allocated from this cluster's range", SERVICE_ALLOC).unless(&[Intent::Text("None"), Intent::Beside(&["spec", "clusterIPs"])]),
    allocated(SERVICE, &["spec", "clusterIPs"], "allocated from this cluster's range", SERVICE_ALLOC),
    allocated(SERVICE, &["spec", "ipFamilies"], "follows from this cluster's ranges", SERVICE_ALLOC),
    allocated(SERVICE, &["spec", "ipFamilyPolicy"], "follows from this cluster's ranges", SERVICE_ALLOC),
    allocated(SERVICE, &["spec", "ports", "[]", "nodePort"], "allocated from this cluster's range", SERVICE_ALLOC),
    always(SERVICE, Target::Field(&["spec", "internalTrafficPolicy"]), "the API drops it, but watches show its default", "pkg/registry/core/service/storage/storage.go, defaultOnRead").only_where(&["spec", "type"], "ExternalName"),
    allocated(SERVICE, &["spec", "healthCheckNodePort"], "allocated from this cluster's range", SERVICE_ALLOC),
    allocated(CLAIM, &["spec", "volumeName"], "the volume that the binder found", "pkg/controller/volume/persistentvolume/pv_controller.go"),
    allocated(CLAIM, &["spec", "storageClassName"], "this cluster's default class", "plugin/pkg/admission/storage/storageclass/setdefault").unless(&[Intent::Text("")]),
    allocated(VOLUME, &["spec", "claimRef"], "the claim that the binder found", "pkg/controller/volume/persistentvolume/pv_controller.go"),
    allocated(VOLUME, &["spec", "claimRef", "uid"], "one per life of a claim: elsewhere the volume would count as released", "pkg/controller/volume/persistentvolume/pv_controller.go"),
    allocated(VOLUME, &["spec", "claimRef", "resourceVersion"], "one per write of a claim", "pkg/controller/volume/persistentvolume/pv_controller.go"),
    always(NAMESPACE, Target::Field(&["spec", "finalizers"]), "added to each namespace", "pkg/registry/core/namespace/strategy.go").only_just("kubernetes"),
    allocated(NODE, &["spec", "podCIDR"], "allocated from this cluster's range", "pkg/controller/nodeipam"),
    allocated(NODE, &["spec", "podCIDRs"], "allocated from this cluster's range", "pkg/controller/nodeipam"),
    allocated(NODE, &["metadata", "labels", "*"], "told by the kubelet, completed by controllers", WELL_KNOWN),
    allocated(NODE, &["spec", "providerID"], "the machine behind it", "cloud-provider, controllers/node"),
    always(NODE, Target::Field(&["spec", "taints", "[]"]), "a condition of the node", WELL_KNOWN).only_named("key", CONDITION_TAINTS),
    allocated(Of::Kind("", "ServiceAccount"), &["secrets", "[]"], "tokens made by controllers", "pkg/controller/serviceaccount/tokens_controller.go"),
    allocated(Of::Kind("networking.k8s.io", "Ingress"), &["spec", "ingressClassName"], "this cluster's default class", "plugin/pkg/admission/network/defaultingressclass"),
    allocated(POD, &["spec", "nodeName"], "the scheduler's choice", "pkg/registry/core/pod/storage, BindingREST"),
    allocated(POD, &["spec", "priority"], "worked out from the priority class; refused where it differs", "plugin/pkg/admission/priority"),
    allocated(POD, &["spec", "preemptionPolicy"], "worked out from the priority class; refused where it differs", "plugin/pkg/admission/priority"),
    allocated(POD, &["spec", "overhead"], "worked out from the runtime class; refused where it differs", "plugin/pkg/admission/runtimeclass"),
    allocated(POD, &["spec", "serviceAccountName"], "the namespace's default account", POD_ACCOUNT),
    allocated(POD, &["spec", "serviceAccount"], "the old name of serviceAccountName", "pkg/apis/core/v1/conversion.go"),
    allocated(POD, &["spec", "imagePullSecrets"], "copied from the account", POD_ACCOUNT),
    allocated(POD, &["spec", "volumes", "[]"], "holds the account's token", POD_ACCOUNT).unless(TOKEN),
    allocated(POD, &["spec", "containers", "[]", "volumeMounts", "[]"], "holds the account's token", POD_ACCOUNT).unless(TOKEN),
    allocated(POD, &["spec", "initContainers", "[]", "volumeMounts", "[]"], "holds the account's token", POD_ACCOUNT).unless(TOKEN),
    allocated(POD, &["spec", "tolerations"], "defaults of this cluster", "plugin/pkg/admission/defaulttolerationseconds"),
    always(REQUEST, Target::Field(&["spec", "username"]), "who asked this cluster; the server fills it in", REQUEST_STRATEGY),
    always(REQUEST, Target::Field(&["spec", "uid"]), "who asked this cluster; the server fills it in", REQUEST_STRATEGY),
    always(REQUEST, Target::Field(&["spec", "groups"]), "who asked this cluster; the server fills it in", REQUEST_STRATEGY),
    always(REQUEST, Target::Field(&["spec", "extra"]), "who asked this cluster; the server fills it in", REQUEST_STRATEGY),
    allocated(JOB, &["spec", "selector"], "made from the uid; refused where it differs", JOB_STRATEGY),
    allocated(JOB, &["spec", "template", "metadata", "labels", "controller-uid"], "made from the uid; refused where it differs", JOB_STRATEGY),
    allocated(JOB, &["spec", "template", "metadata", "labels", "batch.kubernetes.io/controller-uid"], "made from the uid; refused where it differs", JOB_STRATEGY),
    allocated(JOB, &["spec", "template", "metadata", "labels", "job-name"], "made from the name", JOB_STRATEGY),
    allocated(JOB, &["spec", "template", "metadata", "labels", "batch.kubernetes.io/job-name"], "made from the name", JOB_STRATEGY),
    allocated(JOB, &["metadata", "labels", "*"], "copied from the template when the Job is read, not when it is admitted", "pkg/apis/batch/v1/defaults.go, SetDefaults_Job"),
    always(CLUSTER_ROLE, Target::Field(&["rules"]), "gathered from other roles; what else is written there is undone", "api, rbac/v1/types.go, AggregationRule").only_with("aggregationRule"),

    // Empty lists, which protobuf does not tell from none.
    empty(CLUSTER_ROLE, &["rules"], "api, rbac/v1/types.go"),
    empty(Of::Kind("rbac.authorization.k8s.io", "Role"), &["rules"], "api, rbac/v1/types.go"),
    empty(SLICE, &["endpoints"], "api, discovery/v1/types.go"),
    empty(SLICE, &["ports"], "api, discovery/v1/types.go"),
    empty(CSI_NODE, &["spec", "drivers"], "api, storage/v1/types.go"),
    empty(CSI_NODE, &["spec", "drivers", "[]", "topologyKeys"], "api, storage/v1/types.go"),

    // Certificate authorities that an injector fills in, each cluster its own.
    allocated(Of::Kind("apiregistration.k8s.io", "APIService"), &["spec", "caBundle"], "injected by a certificate controller", "cert-manager.io, CA Injector"),
    allocated(Of::Kind("apiextensions.k8s.io", "CustomResourceDefinition"), &["spec", "conversion", "webhook", "clientConfig", "caBundle"], "injected by a certificate controller", "cert-manager.io, CA Injector"),
    allocated(Of::Kind("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), &["webhooks", "[]", "clientConfig", "caBundle"], "injected by a certificate controller", "cert-manager.io, CA Injector"),
    allocated(Of::Kind("admissionregistration.k8s.io", "MutatingWebhookConfiguration"), &["webhooks", "[]", "clientConfig", "caBundle"], "injected by a certificate controller", "cert-manager.io, CA Injector"),
];
