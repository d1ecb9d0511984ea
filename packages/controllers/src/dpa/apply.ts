/** Carries out one step of a DataProtectionApplication. Each can be repeated. */
import { type DataProtectionApplication, dataProtectionApplications } from "@drayage/api";
import { formatTime, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { generateRepositoryPassword, REPO_CREDENTIALS } from "@drayage/install";
import { controllerReference, type EventRecorder, type GenericObject, type KubeClient, secrets } from "@drayage/kube";
import type { Step } from "./dpa.ts";
import { OWNED_TYPES } from "./observe.ts";
import { DPA_NAME_LABEL, OADP_LABEL } from "./owned-manifest.ts";

export interface ApplierDeps {
  readonly client: KubeClient;
  readonly namespace: string;
  readonly logger: Logger;
  readonly random: RandomSource;
  readonly events: EventRecorder;
  readonly nowMs: () => number;
}

/** Whose fields are whose, for server-side apply: a field that is not wanted any more goes, one that somebody else added stays. */
const FIELD_MANAGER = "drayage-operator";

export async function apply(deps: ApplierDeps, dpa: DataProtectionApplication, step: Step, signal: AbortSignal): Promise<void> {
  const { client, namespace, events } = deps;
  switch (step.do) {
    case "createRepositoryPassword":
      return createPassword(deps, signal);
    case "labelSecret": {
      const labels = { [OADP_LABEL]: "True", [DPA_NAME_LABEL]: dpa.metadata.name };
      const patch = { metadata: { labels }, ...(step.data === undefined ? {} : { data: step.data }) };
      await client.patch(secrets, { namespace, name: step.name }, "merge", patch, { signal });
      return;
    }
    case "apply": {
      const { manifest } = step;
      const metadata = { ...manifest.metadata, ownerReferences: [controllerReference(dataProtectionApplications, dpa)] };
      const object = { ...manifest, metadata } as unknown as GenericObject;
      await client.apply(OWNED_TYPES[manifest.kind], object, { fieldManager: FIELD_MANAGER, force: true, signal });
      return;
    }
    case "delete":
      await client.delete(OWNED_TYPES[step.kind], { namespace, name: step.name }, { signal });
      events.event(dpa, "Normal", `${step.kind}Deleted`, `Deleted ${step.kind} "${step.name}"`);
      return;
    case "tell":
      events.event(dpa, step.type, step.reason, step.message);
      return;
    case "setCondition":
      return setCondition(deps, dpa, step, signal);
  }
}

/** Not owned by the application: the backups in the bucket outlive it, and open with this only. */
async function createPassword({ client, namespace, random }: ApplierDeps, signal: AbortSignal): Promise<void> {
  const data = { "repository-password": Buffer.from(generateRepositoryPassword(random)).toString("base64") };
  try {
    await client.create(
      secrets,
      { apiVersion: "v1", kind: "Secret", metadata: { namespace, name: REPO_CREDENTIALS, labels: { component: "velero" } }, type: "Opaque", data },
      { signal },
    );
  } catch (error) {
    // Another came first; its password is the one.
    if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
  }
}

async function setCondition(
  { client, namespace, logger, nowMs }: ApplierDeps,
  dpa: DataProtectionApplication,
  { condition, without }: Extract<Step, { do: "setCondition" }>,
  signal: AbortSignal,
): Promise<void> {
  const all = dpa.status?.conditions ?? [];
  const conditions = all.filter(({ type }) => type !== without);
  const before = conditions.find(({ type }) => type === condition.type);
  const { generation } = dpa.metadata;
  const same = before?.status === condition.status && before.reason === condition.reason && before.message === condition.message;
  if (same && before.observedGeneration === generation && conditions.length === all.length) return;
  const lastTransitionTime = before?.status === condition.status ? before.lastTransitionTime : formatTime(nowMs());
  const after = { ...condition, lastTransitionTime, ...(generation === undefined ? {} : { observedGeneration: generation }) };
  // Conditions of others, such as those of OADP's operator, stay; a write of theirs in between is a conflict, and this one is made again.
  const status = { ...dpa.status, conditions: [...conditions.filter(({ type }) => type !== condition.type), after] };
  await client.replaceStatus(dataProtectionApplications, { ...dpa, status }, { signal });
  if (same) return;
  logger.info(`DataProtectionApplication is ${condition.reason}`, { name: dpa.metadata.name, namespace, message: condition.message });
}
