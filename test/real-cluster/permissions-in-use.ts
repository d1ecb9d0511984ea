/**
 * Which permissions of an installation the real API server was asked for, from its audit log, in which it says by which binding it let each request pass. What is used there cannot be taken
 * away without a refusal, and what nobody uses is one too many.
 */
import { readFileSync } from "node:fs";
import type { Manifest } from "@drayage/install";

/** What is read of an audit.k8s.io/v1 Event. */
interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: { readonly apiGroup?: string; readonly resource: string; readonly subresource?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

export interface PermissionsInUse {
  /** `get persistentvolumes (cluster)`: granted and never asked for. */
  readonly unused: readonly string[];
  /** `create pods`: asked for and refused. */
  readonly refused: readonly string[];
}

const DECISION = "authorization.k8s.io/decision";
const REASON = "authorization.k8s.io/reason";

/** For a service account that the manifests make. A watch and the list before it are two permissions. */
export function permissionsInUse(auditLog: string, manifests: readonly Manifest[], namespace: string, account: string): PermissionsInUse {
  const used = new Set<string>();
  const refused = new Set<string>();
  for (const line of readFileSync(auditLog, "utf8").split("\n").slice(0, -1)) {
    const { verb, user, objectRef, annotations = {} } = JSON.parse(line) as AuditEvent;
    if (user.username !== `system:serviceaccount:${namespace}:${account}` || objectRef === undefined) continue;
    const what = `${verb} ${nameOf(objectRef.apiGroup ?? "", [objectRef.resource, objectRef.subresource].filter((part) => part !== undefined).join("/"))}`;
    if (annotations[DECISION] === "forbid") refused.add(what);
    else used.add(annotations[REASON]?.includes("by ClusterRoleBinding") === true ? `${what} (cluster)` : what);
  }
  const granted = [
    ...grantsOf(manifests, "ClusterRole", `${account}-${namespace}`).map((grant) => `${grant} (cluster)`),
    ...grantsOf(manifests, "Role", account),
  ];
  return { unused: [...new Set(granted)].filter((grant) => !used.has(grant)).sort(), refused: [...refused].sort() };
}

function grantsOf(manifests: readonly Manifest[], kind: string, name: string): string[] {
  const rules = manifests
    .filter((manifest) => manifest.kind === kind && manifest.metadata.name === name)
    // One that is put together of others has none of its own.
    .flatMap((manifest) => (manifest as unknown as { readonly rules?: readonly Rule[] }).rules ?? []);
  // Rules of paths that are no resources have neither.
  return rules.flatMap(({ apiGroups = [], resources = [], verbs }) =>
    apiGroups.flatMap((group) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${nameOf(group, resource)}`))),
  );
}

function nameOf(group: string, resource: string): string {
  return group === "" ? resource : `${resource}.${group}`;
}
