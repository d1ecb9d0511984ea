/**
 * Movers of others: one whose module our own program runs, one with an image of its own. They move a claim of the application through a DataUpload, and what is no claim through a
 * DataMoverBackup; their pods run on the simulated nodes, and may end anywhere: killed before anything was written, in the middle, or after all of it and before a word was said.
 */
import { type DataMover, type DataMoverBackup, dataMovers, MOVER_ANNOTATIONS } from "@drayage/api";
import {
  type ConfigMap,
  configMaps,
  type DiscoveredResource,
  keyOf,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  pods,
  secrets,
} from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";
import { MOVER_ENV, MOVER_REQUEST_KEY, type MoverRequest, parseMoverRequest } from "@drayage/mover-sdk";
import type { ArchivedItemRef } from "../../ports.ts";
import type { SimulatedNodes } from "../simulated-nodes.ts";
import type { Draw } from "./draw.ts";
import { servedKinds } from "./served-kinds.ts";

const MODULE_MOVER = "vault";
const IMAGE_MOVER = "freighter";
const KINDS = ["configmaps", "persistentvolumeclaims"];
const WORK_TICKS_MAX = 15;
/** Where ticks are longer, and one backup after another is deleted. */
const CALM_TICKS_MAX = 3;
/** Of a pod's ticks, while there is trouble. */
const FAILS = 0.01;

interface Program {
  readonly pod: Pod;
  readonly request: MoverRequest;
  ticksLeft: number;
}

export interface SimulatedVendorOptions {
  readonly client: FakeKubeClient;
  readonly nodes: SimulatedNodes;
  readonly draw: Draw;
}

export class SimulatedVendor {
  /** What lies in the vendors' target, by the ids of the moves: whether it is whole. */
  readonly data = new Map<string, boolean>();
  /** Whether its programs fail by themselves. */
  isTroubled = true;
  readonly #options: SimulatedVendorOptions;
  #programs: Program[] = [];

  constructor(options: SimulatedVendorOptions) {
    this.#options = options;
    const { client } = options;
    const shared = {
      capabilities: { kinds: [...KINDS], cancel: true },
      description: "moves",
      parameters: { type: "object", properties: {} },
      version: "1.0.0",
    };
    client.seed<DataMover>(dataMovers, { metadata: { name: MODULE_MOVER }, spec: { ...shared, module: "/movers/vault.ts" } });
    client.seed<DataMover>(dataMovers, { metadata: { name: IMAGE_MOVER }, spec: { ...shared, image: "example.com/freighter:1", command: ["/freighter"] } });
  }

  /** Has a claim and two ConfigMaps of a namespace moved by them. */
  choose(namespace: string, claimName: string): void {
    const { client } = this.#options;
    client.mutate<PersistentVolumeClaim>(persistentVolumeClaims, { namespace, name: claimName }, ({ metadata }) => {
      metadata.annotations = { ...metadata.annotations, [MOVER_ANNOTATIONS.mover]: IMAGE_MOVER };
    });
    for (const mover of [MODULE_MOVER, IMAGE_MOVER]) {
      const metadata = { namespace, name: `orders-of-${mover}`, uid: `config-${mover}`, annotations: { [MOVER_ANNOTATIONS.mover]: mover } };
      client.seed<ConfigMap>(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata, data: { orders: "7" } });
    }
  }

  tick(): void {
    const { client, nodes, draw } = this.#options;
    for (const program of [...this.#programs]) {
      const node = program.pod.spec.nodeName ?? "";
      // Whoever loses its node loses its target as well; a kubelet that is back finds that the program has gone.
      if (client.peek(pods, keyOf(program.pod))?.metadata.uid !== program.pod.metadata.uid || !nodes.isUp(node)) this.#end(program);
      else if (this.isTroubled && draw.chance(FAILS)) this.#die(program);
      else if (--program.ticksLeft <= 0) this.#finish(program);
    }
    for (const pod of client.all(pods).filter(isVendorPod)) {
      if (pod.status?.phase !== "Running" || !nodes.isUp(pod.spec.nodeName ?? "") || this.#programs.some((each) => each.pod.metadata.uid === pod.metadata.uid))
        continue;
      if (this.#begun.has(pod.metadata.uid ?? "")) this.#exit(pod, 137, "");
      else this.#begin(pod);
    }
  }

  /** Of the moves that lie in a tarball, those whose data is not there. */
  missing(items: readonly { readonly ref: ArchivedItemRef; readonly object: object }[]): string[] {
    const moves = items.filter(({ ref }) => ref.groupResource === "datamoverbackups.drayage.io").map(({ object }) => object as DataMoverBackup);
    return moves
      .filter(({ metadata, status }) => status?.phase !== "Completed" || this.data.get(metadata.annotations?.[MOVER_ANNOTATIONS.moveId] ?? "") !== true)
      .map(({ metadata, status }) => `${metadata.name} is ${status?.phase}, and its data is not there`);
  }

  /** Pods whose program was begun: a program that is gone does not come back. */
  readonly #begun = new Set<string>();

  #begin(pod: Pod): void {
    const request = this.#requestOf(pod);
    // Its Secret is not mounted yet.
    if (request === undefined) return;
    this.#begun.add(pod.metadata.uid ?? "");
    this.#programs.push({ pod, request, ticksLeft: 1 + this.#options.draw.below(this.isTroubled ? WORK_TICKS_MAX : CALM_TICKS_MAX) });
    if (request.operation === "backup" && this.data.get(request.id) !== true) this.data.set(request.id, false);
  }

  #requestOf(pod: Pod): MoverRequest | undefined {
    const name = (pod.spec.volumes as { readonly secret?: { readonly secretName?: string } }[] | undefined)?.find(({ secret }) => secret !== undefined)?.secret
      ?.secretName;
    const secret = this.#options.client.peek(secrets, { namespace: pod.metadata.namespace, name: name ?? "" });
    const text = secret?.data?.[MOVER_REQUEST_KEY];
    return text === undefined ? undefined : parseMoverRequest(Buffer.from(text, "base64").toString("utf8"));
  }

  #finish(program: Program): void {
    const { operation, id, moved } = program.request;
    if (operation === "backup") this.data.set(id, true);
    if (operation === "delete") this.data.delete(id);
    // Its backup may have been deleted meanwhile.
    const isGone = operation === "restore" && this.data.get(moved?.snapshotId ?? "") !== true;
    // Killed after its work, before its last word.
    if (isGone || (this.isTroubled && this.#options.draw.chance(FAILS * 5))) this.#die(program);
    else {
      this.#end(program);
      this.#exit(program.pod, 0, operation === "backup" ? JSON.stringify({ snapshotID: id, totalBytes: 7 }) : '{"totalBytes":7}');
    }
  }

  #die(program: Program): void {
    this.#end(program);
    if (this.#options.draw.chance(0.5)) this.#exit(program.pod, 1, "the target does not answer");
    else this.#options.client.discard(pods, keyOf(program.pod));
  }

  #end(program: Program): void {
    this.#programs = this.#programs.filter((each) => each !== program);
  }

  #exit(pod: Pod, exitCode: number, message: string): void {
    if (this.#options.client.peek(pods, keyOf(pod))?.metadata.uid !== pod.metadata.uid) return;
    this.#options.client.mutate<Pod>(pods, keyOf(pod), (current) => {
      const status = { name: "mover", ready: false, restartCount: 0, state: { terminated: { exitCode, message } } };
      current.status = { phase: exitCode === 0 ? "Succeeded" : "Failed", containerStatuses: [status] };
    });
  }
}

export function isVendorPod({ spec }: Pod): boolean {
  return spec.containers.some(({ env }) => env?.some(({ name }) => name === MOVER_ENV.request) === true);
}

/** What the cluster serves beside. */
export const vendorResources: readonly DiscoveredResource[] = servedKinds("drayage.io", ["DataMoverBackup", "DataMoverRestore"]);
