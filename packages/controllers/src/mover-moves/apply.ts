/** Carries out one step of a DataMoverBackup or DataMoverRestore. Each can be repeated. */
import {
  type DataMoverBackup,
  type DataMoverRestore,
  DRAYAGE_API_VERSION,
  dataMoverBackups,
  dataMoverRestores,
  dataMovers,
  MOVED_DATA_FINALIZER,
  MOVER_ANNOTATIONS,
  MOVER_LABELS,
  MOVER_SECRET_PATH,
  validLabelValue,
} from "@drayage/api";
import { formatTime, hasCode, type Logger } from "@drayage/base";
import { controllerReference, isDeleting, isOwnedBy, type Pod, pods, type ResourceType, secrets, withFinalizer, withoutFinalizer } from "@drayage/kube";
import { type MoverOperation, type MoverRequest, parseTextParameters } from "@drayage/mover-sdk";
import type { MoverPodSettings } from "../exposers/exposer-deps.ts";
import { buildRequestSecret, programMounts, programOf } from "../exposers/mover-program.ts";
import { isTerminal, type PodOf, type Step } from "./move.ts";
import { findSource, type Move, type MoveKind, type MoveObserverDeps, podName } from "./observe.ts";

export interface MoveApplierDeps extends MoveObserverDeps {
  readonly pod: MoverPodSettings;
  readonly logger: Logger;
}

export async function apply(deps: MoveApplierDeps, moveKind: MoveKind, move: Move, step: Step, signal: AbortSignal): Promise<void> {
  const { client, logger, namespace } = deps;
  const { name = "" } = move.metadata;
  const type = typeOf(moveKind);
  const write = async (changed: Move): Promise<void> => void (await client.replace<Move>(type, changed, { signal }));
  switch (step.do) {
    case "addFinalizer":
      return write(withFinalizer(move, MOVED_DATA_FINALIZER));
    case "removeFinalizer":
      return write(withoutFinalizer(move, MOVED_DATA_FINALIZER));
    case "requestCancel":
      return write({ ...move, spec: { ...move.spec, cancel: true }, status: { ...move.status, message: step.message } } as Move);
    case "setPhase":
      await write(entered(move, step, formatTime(deps.nowMs())));
      logger.info(`${moveKind.kind === "backup" ? "DataMoverBackup" : "DataMoverRestore"} is ${step.to}`, { name, message: step.message });
      return;
    case "noteRemoval":
      return write({
        ...move,
        status: { ...move.status, dataRemoved: step.removed, ...remark(move, step.message) },
      } as Move);
    case "reportProgress":
      return write({ ...move, status: { ...move.status, progress: { totalBytes: step.totalBytes, bytesDone: step.doneBytes } } } as Move);
    case "createSecret": {
      const secret = await buildRequestSecret(client, {
        name: podName(move, step.of),
        namespace,
        owner: controllerReference(type, move),
        label: moveKind.label,
        target: move.spec.target,
        request: await requestOf(deps, moveKind, move, step.of, signal),
      });
      return ignoring("KUBE_ALREADY_EXISTS", () => client.create(secrets, secret, { signal }));
    }
    case "createPod": {
      const pod = await buildPod(deps, moveKind, move, step.of, signal);
      return ignoring("KUBE_ALREADY_EXISTS", () => client.create(pods, pod, { signal }));
    }
    case "deletePod": {
      const key = { namespace, name: podName(move, step.of) };
      const pod = await client.find(pods, key, signal);
      if (pod === undefined || isDeleting(pod) || !isOwnedBy(pod, move)) return;
      return ignoring("KUBE_NOT_FOUND", () => client.delete(pods, key, { signal }));
    }
    case "deleteSecret":
      return ignoring("KUBE_NOT_FOUND", () => client.delete(secrets, { namespace, name: podName(move, step.of) }, { signal }));
  }
}

export function typeOf({ kind }: MoveKind): ResourceType<Move> {
  return (kind === "backup" ? dataMoverBackups : dataMoverRestores) as unknown as ResourceType<Move>;
}

/** Why a move failed stays to be read beside what became of its remains. */
function remark({ status }: Move, message: string | undefined): { readonly message?: string } {
  if (message === undefined) return {};
  return { message: status?.message === undefined ? message : `${status.message}; ${message}` };
}

function entered(move: Move, step: Extract<Step, { do: "setPhase" }>, now: string): Move {
  const { to } = step;
  const { message: before, ...status } = (move.status ?? {}) as NonNullable<DataMoverBackup["status"]>;
  // Why it is canceled was said when the cancel was asked for.
  const message = step.message ?? (to === "Canceling" || to === "Canceled" ? before : undefined);
  return {
    ...move,
    status: {
      ...status,
      ...step.status,
      phase: to,
      ...(message === undefined ? {} : { message }),
      ...(to === "Accepted" ? { acceptedTimestamp: now } : {}),
      ...(to === "InProgress" ? { startTimestamp: now } : {}),
      ...(isTerminal(to) ? { completionTimestamp: now } : {}),
      conditions: [
        {
          type: "Ready",
          status: to === "Completed" ? "True" : to === "Failed" || to === "Canceled" ? "False" : "Unknown",
          reason: to,
          ...(message === undefined ? {} : { message }),
          lastTransitionTime: now,
          ...(move.metadata.generation === undefined ? {} : { observedGeneration: move.metadata.generation }),
        },
      ],
    },
  } as Move;
}

async function requestOf(
  deps: MoveApplierDeps,
  { kind }: MoveKind,
  move: Move,
  of: PodOf,
  signal: AbortSignal,
): Promise<Omit<MoverRequest, "schema" | "target">> {
  const { name = "", uid = "", annotations } = move.metadata;
  const { source, mover, parameters } = move.spec;
  const operation: MoverOperation = of === "removal" ? "delete" : kind;
  const object = of === "removal" ? undefined : await findSource(deps, move, signal);
  const registered = await deps.client.find(dataMovers, { name: mover }, signal);
  return {
    operation,
    mover,
    id: annotations?.[MOVER_ANNOTATIONS.moveId] ?? uid,
    source: { ...source, ...(object === undefined ? {} : { object }) },
    parameters: parseTextParameters(registered?.spec.parameters ?? {}, (parameters ?? {}) as Record<string, string>),
    ...movedBy(kind, move),
    about: { apiVersion: DRAYAGE_API_VERSION, kind: kind === "backup" ? "DataMoverBackup" : "DataMoverRestore", namespace: deps.namespace, name, uid },
  };
}

function movedBy(kind: MoveKind["kind"], move: Move): Pick<MoverRequest, "moved"> {
  const { snapshotID, result } = (kind === "restore" ? move.spec : (move.status ?? {})) as Partial<DataMoverRestore["spec"]>;
  return snapshotID === undefined || snapshotID === "" ? {} : { moved: { snapshotId: snapshotID, ...(result === undefined ? {} : { result }) } };
}

async function buildPod(deps: MoveApplierDeps, moveKind: MoveKind, move: Move, of: PodOf, signal: AbortSignal): Promise<Pod> {
  const { client, namespace, pod } = deps;
  const name = podName(move, of);
  const operation = of === "removal" ? "delete" : moveKind.kind;
  const program = programOf(await client.get(dataMovers, { name: move.spec.mover }, signal), operation);
  const files = programMounts(program);
  return {
    metadata: {
      name,
      namespace,
      labels: { [moveKind.label]: validLabelValue(move.metadata.name ?? ""), [MOVER_LABELS.operation]: operation },
      ownerReferences: [controllerReference(typeOf(moveKind), move)],
    },
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: program.graceSeconds,
      serviceAccountName: pod.serviceAccount,
      containers: [
        {
          name: "mover",
          image: program.image ?? pod.image,
          imagePullPolicy: pod.imagePullPolicy ?? "IfNotPresent",
          command: [...(program.command ?? pod.command ?? ["/velero"])],
          args: [...program.args, ...(program.command === undefined ? (pod.extraArgs ?? []) : [])],
          env: [
            { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
            { name: "VELERO_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
            { name: "AWS_SHARED_CREDENTIALS_FILE", value: `${MOVER_SECRET_PATH}/cloud` },
            ...program.env,
            ...(pod.env ?? []),
          ],
          volumeMounts: [{ name: "scratch", mountPath: "/scratch" }, { name: "mover-secret", mountPath: MOVER_SECRET_PATH, readOnly: true }, ...files.mounts],
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "File",
        },
      ],
      volumes: [{ name: "scratch", emptyDir: {} }, { name: "mover-secret", secret: { secretName: name, defaultMode: 0o400 } }, ...files.volumes],
    },
  };
}

async function ignoring(code: "KUBE_ALREADY_EXISTS" | "KUBE_NOT_FOUND", work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!hasCode(error, code)) throw error;
  }
}
