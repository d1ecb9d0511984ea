/** Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs and ReplicationControllers. */
import { randomUuid } from "@drayage/base";
import { type ApiObject, clone, ensureObject, equal, type Json, type JsonObject, numberAt, objectAt, objectsAt, setDefault, textAt } from "../json.ts";
import { matchesLabelSelector } from "../selectors.ts";
import { type FieldError, fieldForbidden, invalid, notSupported, required } from "../status-error.ts";
import { scheduleProblem } from "./cron-schedule.ts";
import { defaultPodTemplate } from "./pod-defaults.ts";
import { validatePodSpec } from "./pod-validation.ts";
import type { Strategy } from "./strategy.ts";
import { defaultClaimSpec } from "./volumes.ts";

type Defaults = Readonly<Record<string, Json>>;

function fill(spec: JsonObject, defaults: Defaults): void {
  for (const [field, value] of Object.entries(defaults)) setDefault(spec, field, clone(value));
}

/** A workload whose template and selector are checked alike. */
function workload(options: {
  readonly defaults: (spec: JsonObject, object: ApiObject) => void;
  readonly restartPolicies?: readonly string[];
  readonly selectorImmutable?: boolean;
  readonly selectableFields?: NonNullable<Strategy["selectableFields"]>;
}): Strategy {
  return {
    generation: true,
    statusFields: ["status"],
    defaults(object) {
      const spec = ensureObject(object, "spec");
      options.defaults(spec, object);
      defaultPodTemplate(ensureObject(spec, "template"));
    },
    prepareCreate(object) {
      object["status"] = initialStatus(object.kind);
    },
    validate: (object) => validateTemplate(object, options.restartPolicies ?? ["Always"]),
    validateUpdate(object, old) {
      const errors = validateTemplate(object, options.restartPolicies ?? ["Always"]);
      if (options.selectorImmutable === true && !equal(objectAt(object, "spec", "selector"), objectAt(old, "spec", "selector")))
        errors.push(invalid("spec.selector", objectAt(object, "spec", "selector"), "field is immutable"));
      return errors;
    },
    ...(options.selectableFields === undefined ? {} : { selectableFields: options.selectableFields }),
  };
}

/** Counters the Go structs always write. */
function initialStatus(kind: string): JsonObject {
  if (kind === "DaemonSet") return { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 };
  if (kind === "StatefulSet") return { replicas: 0, availableReplicas: 0 };
  return kind === "ReplicaSet" || kind === "ReplicationController" ? { replicas: 0 } : {};
}

function validateTemplate(object: ApiObject, restartPolicies: readonly string[]): FieldError[] {
  const spec = objectAt(object, "spec") ?? {};
  const errors: FieldError[] = [];
  const replicas = numberAt(spec, "replicas");
  if (replicas !== undefined && replicas < 0) errors.push(invalid("spec.replicas", replicas, "must be greater than or equal to 0"));
  const selector = objectAt(spec, "selector");
  const labels = objectAt(spec, "template", "metadata", "labels") ?? {};
  if (selector === undefined)
    errors.push(
      required("spec.selector"),
      invalid("spec.template.metadata.labels", objectAt(spec, "template", "metadata", "labels") ?? null, "`selector` does not match template `labels`"),
    );
  else if (object.kind !== "ReplicationController") {
    if (objectAt(selector, "matchLabels") === undefined && objectsAt(selector, "matchExpressions").length === 0)
      errors.push(invalid("spec.selector", selector, `empty selector is invalid for ${object.kind.toLowerCase()}`));
    else if (!matchesLabelSelector(selector, labels as Record<string, string>))
      errors.push(invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"));
  }
  errors.push(...validatePodSpec(objectAt(spec, "template", "spec") ?? {}, "spec.template.spec", restartPolicies));
  return errors;
}

// Their annotations say what becomes of their ReplicaSets, and so count as wanted.
const deploymentBase = workload({
  selectorImmutable: true,
  defaults(spec) {
    fill(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
    const strategy = ensureObject(spec, "strategy");
    if (textAt(strategy, "type") === "") strategy["type"] = "RollingUpdate";
    if (strategy["type"] === "RollingUpdate") fill(ensureObject(strategy, "rollingUpdate"), { maxUnavailable: "25%", maxSurge: "25%" });
  },
});
export const deployments: Strategy = { ...deploymentBase, annotationsCount: true };

const byReplicas = (object: ApiObject): Record<string, string> => ({ "status.replicas": String(numberAt(object, "status", "replicas") ?? 0) });

export const replicaSets = workload({ selectorImmutable: true, selectableFields: byReplicas, defaults: (spec) => fill(spec, { replicas: 1 }) });

export const replicationControllers: Strategy = {
  ...workload({
    selectableFields: byReplicas,
    defaults(spec, object) {
      fill(spec, { replicas: 1 });
      const labels = objectAt(spec, "template", "metadata", "labels");
      if (labels === undefined) return;
      setDefault(spec, "selector", clone(labels));
      object.metadata.labels ??= clone(labels) as Record<string, string>;
    },
  }),
  defaultPropagation: "Orphan",
};

const statefulSetUpdates =
  "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const statefulSetBase = workload({
  defaults(spec) {
    fill(spec, { replicas: 1, revisionHistoryLimit: 10 });
    if (textAt(spec, "podManagementPolicy") === "") spec["podManagementPolicy"] = "OrderedReady";
    const update = ensureObject(spec, "updateStrategy");
    if (textAt(update, "type") === "") update["type"] = "RollingUpdate";
    if (update["type"] === "RollingUpdate") fill(ensureObject(update, "rollingUpdate"), { partition: 0 });
    const retention = ensureObject(spec, "persistentVolumeClaimRetentionPolicy");
    for (const field of ["whenDeleted", "whenScaled"]) if (textAt(retention, field) === "") retention[field] = "Retain";
    for (const claim of objectsAt(spec, "volumeClaimTemplates")) {
      setDefault(claim, "kind", "PersistentVolumeClaim");
      setDefault(claim, "apiVersion", "v1");
      defaultClaimSpec(ensureObject(claim, "spec"));
      const status = ensureObject(claim, "status");
      if (textAt(status, "phase") === "") status["phase"] = "Pending";
    }
  },
});
export const statefulSets: Strategy = {
  ...statefulSetBase,
  validateUpdate(object, old, world) {
    const errors = statefulSetBase.validate?.(object, world) ?? [];
    const fixed = (it: ApiObject): JsonObject => {
      const spec = clone(objectAt(it, "spec") ?? {});
      for (const field of [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
      ])
        delete spec[field];
      return spec;
    };
    if (!equal(fixed(object), fixed(old))) errors.push(fieldForbidden("spec", statefulSetUpdates));
    return errors;
  },
};

const TEMPLATE_GENERATION = "deprecated.daemonset.template.generation";
const daemonSetBase = workload({
  selectorImmutable: true,
  defaults(spec) {
    fill(spec, { revisionHistoryLimit: 10 });
    const update = ensureObject(spec, "updateStrategy");
    if (textAt(update, "type") === "") update["type"] = "RollingUpdate";
    if (update["type"] === "RollingUpdate") fill(ensureObject(update, "rollingUpdate"), { maxUnavailable: 1, maxSurge: 0 });
  },
});

/** Counts changes of the template in an annotation, as the API did before generations were there. */
export const daemonSets: Strategy = {
  ...daemonSetBase,
  defaults(object, world) {
    daemonSetBase.defaults?.(object, world);
    object.metadata.annotations = { [TEMPLATE_GENERATION]: "1", ...object.metadata.annotations };
  },
  prepareUpdate(object, old) {
    const before = Number(old.metadata.annotations?.[TEMPLATE_GENERATION] ?? "1");
    const changed = !equal(objectAt(object, "spec", "template"), objectAt(old, "spec", "template"));
    object.metadata.annotations = { ...object.metadata.annotations, [TEMPLATE_GENERATION]: String(before + (changed ? 1 : 0)) };
  },
};

function defaultJobSpec(spec: JsonObject): void {
  if (spec["completions"] === undefined && spec["parallelism"] === undefined) fill(spec, { completions: 1, parallelism: 1 });
  fill(spec, { parallelism: 1, backoffLimit: 6, completionMode: "NonIndexed", suspend: false });
  setDefault(spec, "podReplacementPolicy", spec["podFailurePolicy"] === undefined ? "TerminatingOrFailed" : "Failed");
}

function validateJobTemplate(template: JsonObject, path: string): FieldError[] {
  const policy = textAt(template, "spec", "restartPolicy");
  const errors = validatePodSpec(objectAt(template, "spec") ?? {}, `${path}.spec`);
  if (policy === "Always") errors.push(required(`${path}.spec.restartPolicy`, 'valid values: "OnFailure", "Never"'));
  return errors;
}

export const jobs: Strategy = {
  defaultPropagation: "Orphan",
  deletionWarning:
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
  generation: true,
  statusFields: ["status"],
  defaults(job) {
    const spec = ensureObject(job, "spec");
    defaultJobSpec(spec);
    setDefault(spec, "manualSelector", false);
    const template = ensureObject(spec, "template");
    defaultPodTemplate(template);
  },
  prepareCreate(job, world) {
    job["status"] = {};
    const spec = ensureObject(job, "spec");
    if (spec["manualSelector"] === true) return;
    job.metadata.uid ??= randomUuid(world.random);
    const uid = job.metadata.uid;
    const name = job.metadata.name ?? "";
    const labels = ensureObject(ensureObject(ensureObject(spec, "template"), "metadata"), "labels");
    Object.assign(labels, { "batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": name, "controller-uid": uid, "job-name": name });
    spec["selector"] = { matchLabels: { "batch.kubernetes.io/controller-uid": uid } };
    // A job without labels of its own takes those of its template.
    job.metadata.labels ??= { ...(labels as Record<string, string>) };
  },
  validate: (job) => validateJobTemplate(objectAt(job, "spec", "template") ?? {}, "spec.template"),
  validateUpdate(job, old) {
    const errors = validateJobTemplate(objectAt(job, "spec", "template") ?? {}, "spec.template");
    for (const field of ["completions", "selector", "template"]) {
      const suspended = objectAt(old, "spec")?.["suspend"] === true && field === "template";
      if (!suspended && !equal(objectAt(job, "spec")?.[field], objectAt(old, "spec")?.[field]))
        errors.push(invalid(`spec.${field}`, objectAt(job, "spec")?.[field], "field is immutable"));
    }
    return errors;
  },
  selectableFields: (job) => ({ "status.successful": String(numberAt(job, "status", "succeeded") ?? 0) }),
};

export const cronJobs: Strategy = {
  generation: true,
  statusFields: ["status"],
  defaults(cronJob) {
    const spec = ensureObject(cronJob, "spec");
    if (textAt(spec, "concurrencyPolicy") === "") spec["concurrencyPolicy"] = "Allow";
    fill(spec, { suspend: false, successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1 });
    const job = ensureObject(ensureObject(spec, "jobTemplate"), "spec");
    defaultPodTemplate(ensureObject(job, "template"));
  },
  prepareCreate(cronJob) {
    cronJob["status"] = {};
  },
  validate(cronJob) {
    const spec = objectAt(cronJob, "spec") ?? {};
    const schedule = textAt(spec, "schedule");
    const problem = scheduleProblem(schedule);
    const errors: FieldError[] = schedule === "" ? [required("spec.schedule")] : problem === undefined ? [] : [invalid("spec.schedule", schedule, problem)];
    const policies = ["Allow", "Forbid", "Replace"];
    if (!policies.includes(textAt(spec, "concurrencyPolicy"))) errors.push(notSupported("spec.concurrencyPolicy", textAt(spec, "concurrencyPolicy"), policies));
    errors.push(...validateJobTemplate(objectAt(spec, "jobTemplate", "spec", "template") ?? {}, "spec.jobTemplate.spec.template"));
    return errors;
  },
};

export const controllerRevisions: Strategy = {
  validateUpdate: (object, old) => (equal(object["data"], old["data"]) ? [] : [invalid("data", object["data"], "field is immutable")]),
};
