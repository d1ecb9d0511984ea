/**
 * The pod that moves a volume: in the namespace of its object, as VolSync's, with the repository's Secret as files. It has no token: it asks the API server for nothing, and tells by its
 * termination message.
 */
import { parseVolSyncResult, VOLSYNC_EXIT, VOLSYNC_OWNER_LABEL, VOLSYNC_POD, type VolSyncRequest } from "@drayage/api";
import { parseTime } from "@drayage/base";
import { controllerReference, type Pod, type Volume, type VolumeMount } from "@drayage/kube";
import { failureMessage, startingReason, successMessage, unrecoverableReason } from "../exposers/hosting-pod.ts";
import { cacheName, type Replication, type ReplicationKind, volumeClaimName } from "./replication-kinds.ts";
import type { Mover } from "./synchronization.ts";
import { wantsCacheClaim } from "./volumes.ts";

export interface MoverPodOptions {
  readonly kind: ReplicationKind;
  readonly object: Replication;
  readonly image: string;
  readonly resticProgram?: string | undefined;
  readonly logLevel: string;
  readonly request: VolSyncRequest;
  readonly attempt: number;
  readonly tag: string | undefined;
  /** Root, with what it takes to read and own everybody's files. */
  readonly isPrivileged: boolean;
  /** Where the volume is in use. */
  readonly hostName: string | undefined;
}

const ATTEMPT_ANNOTATION = "drayage.io/attempt";
const TAG_ANNOTATION = "drayage.io/manual-tag";
/** restic gives its lock back when it is told to end. */
const GRACE_SECONDS = 30;

export function moverPodName({ direction }: ReplicationKind, { metadata }: Replication, attempt: number): string {
  return `volsync-${direction}-${(metadata.name ?? "").slice(0, 36).replace(/[^a-z0-9]+$/, "")}-${(metadata.uid ?? "").slice(0, 8)}-${attempt}`;
}

export function buildMoverPod(options: MoverPodOptions): Pod {
  const { kind, object, image, request, attempt, tag, hostName } = options;
  const { moverServiceAccount, moverPodLabels, moverResources, moverAffinity } = object.spec.restic ?? {};
  const extra = moverVolumesOf(object);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: moverPodName(kind, object, attempt),
      namespace: object.metadata.namespace ?? "",
      labels: { ...moverPodLabels, "app.kubernetes.io/created-by": "drayage", [VOLSYNC_OWNER_LABEL]: object.metadata.uid ?? "" },
      annotations: { [ATTEMPT_ANNOTATION]: String(attempt), ...(tag === undefined ? {} : { [TAG_ANNOTATION]: tag }) },
      ownerReferences: [controllerReference(kind.type, object)],
    },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: GRACE_SECONDS,
      automountServiceAccountToken: false,
      ...(moverServiceAccount === undefined ? {} : { serviceAccountName: moverServiceAccount }),
      ...(moverAffinity !== undefined ? { affinity: moverAffinity } : hostName !== undefined ? { nodeSelector: { "kubernetes.io/hostname": hostName } } : {}),
      securityContext: podSecurity(options),
      containers: [
        {
          name: "restic",
          image,
          imagePullPolicy: "IfNotPresent",
          command: ["/velero"],
          args: ["volsync-mover", `--log-level=${options.logLevel}`],
          env: [
            { name: VOLSYNC_POD.request, value: JSON.stringify(request) },
            // Also where the image's user has no home that can be written to.
            { name: "HOME", value: "/tmp" },
            { name: "TMPDIR", value: "/tmp" },
            ...(options.resticProgram === undefined ? [] : [{ name: VOLSYNC_POD.resticProgram, value: options.resticProgram }]),
          ],
          ...(moverResources === undefined ? {} : { resources: moverResources }),
          volumeMounts: [
            { name: "data", mountPath: VOLSYNC_POD.data },
            { name: "cache", mountPath: VOLSYNC_POD.cache },
            { name: "tmp", mountPath: "/tmp" },
            { name: "repository", mountPath: VOLSYNC_POD.repository, readOnly: true },
            ...(hasCa(object) ? [{ name: "custom-ca", mountPath: VOLSYNC_POD.customCa, readOnly: true }] : []),
            ...extra.map(({ mount }) => mount),
          ],
          securityContext: containerSecurity(options),
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "File",
        },
      ],
      volumes: [
        { name: "data", persistentVolumeClaim: { claimName: volumeClaimName(object) } },
        wantsCacheClaim(object) ? { name: "cache", persistentVolumeClaim: { claimName: cacheName(kind, object) } } : { name: "cache", emptyDir: {} },
        { name: "tmp", emptyDir: {} },
        { name: "repository", secret: { secretName: object.spec.restic?.repository ?? "" } },
        ...caVolume(object),
        ...extra.map(({ volume }) => volume),
      ],
    },
  };
}

/** As VolSync: what the object says, and without a word of it the image's own user, or root where the namespace allows it. */
function podSecurity({ object, isPrivileged }: MoverPodOptions): Record<string, unknown> {
  const { moverSecurityContext } = object.spec.restic ?? {};
  if (moverSecurityContext !== undefined) return { seccompProfile: { type: "RuntimeDefault" }, ...moverSecurityContext };
  return { seccompProfile: { type: "RuntimeDefault" }, ...(isPrivileged ? { runAsUser: 0 } : { runAsNonRoot: true }) };
}

function containerSecurity({ isPrivileged }: MoverPodOptions): Record<string, unknown> {
  return {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ["ALL"], ...(isPrivileged ? { add: ["DAC_OVERRIDE", "CHOWN", "FOWNER"] } : {}) },
    ...(isPrivileged ? { runAsUser: 0 } : {}),
  };
}

function hasCa({ spec }: Replication): boolean {
  const { secretName = "", configMapName = "" } = spec.restic?.customCA ?? {};
  return secretName !== "" || configMapName !== "";
}

function caVolume(object: Replication): Volume[] {
  if (!hasCa(object)) return [];
  const { secretName = "", configMapName = "", key = "" } = object.spec.restic?.customCA ?? {};
  const items = [{ key, path: "ca.crt" }];
  return [{ name: "custom-ca", ...(secretName === "" ? { configMap: { name: configMapName, items } } : { secret: { secretName, items } }) }];
}

/** At /mnt/<mountPath>, as VolSync does; a name that would leave it is left out by the API server's own checks of paths. */
function moverVolumesOf({ spec }: Replication): { readonly volume: Volume; readonly mount: VolumeMount }[] {
  return (spec.restic?.moverVolumes ?? []).map(({ mountPath, volumeSource }, index) => ({
    volume: { name: `mover-${index}`, ...volumeSource } as Volume,
    mount: { name: `mover-${index}`, mountPath: `/mnt/${mountPath.replaceAll("..", "")}` },
  }));
}

/** What the pods of an object say; the one of the latest attempt counts. */
export function moverOf(pods: readonly Pod[]): Mover {
  const attemptOf = ({ metadata }: Pod): number => Number(metadata.annotations?.[ATTEMPT_ANNOTATION] ?? 1);
  const pod = pods.toSorted((a, b) => attemptOf(a) - attemptOf(b)).at(-1);
  if (pod === undefined) return { state: "absent" };
  const sinceMs = parseTime(pod.metadata.creationTimestamp) ?? 0;
  if (pod.metadata.deletionTimestamp !== undefined) return { state: "starting", reason: `the pod "${pod.metadata.name}" to be gone`, sinceMs };
  const tag = pod.metadata.annotations?.[TAG_ANNOTATION];
  const terminated = pod.status?.containerStatuses?.[0]?.state?.terminated;
  const endedMs = parseTime(terminated?.finishedAt) ?? sinceMs;
  if (pod.status?.phase === "Succeeded") return { state: "succeeded", tag, endedMs, result: parseVolSyncResult(successMessage(pod)) };
  if (pod.status?.phase === "Failed") {
    const result = parseVolSyncResult(failureMessage(pod));
    return { state: "failed", tag, endedMs, result, attempt: attemptOf(pod), hopeless: terminated?.exitCode === VOLSYNC_EXIT.hopeless };
  }
  if (pod.status?.phase === "Running") return { state: "running" };
  return { state: "starting", reason: unrecoverableReason(pod) ?? startingReason(pod), sinceMs };
}
