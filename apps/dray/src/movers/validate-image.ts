/**
 * The conformance suite for a mover that is an image: what can be seen of it from outside, through the pod contract. Each check runs pods in the installation's namespace, against a real
 * backup location; a volume is an `emptyDir` that our own image fills before the mover reads it, and compares after the mover has filled it.
 *
 *   backup    init: sample ► emptyDir      then: the mover reads it
 *   restore   init: the mover ► emptyDir   then: compared with the sample
 */
import { backupStorageLocations, type DataMover } from "@drayage/api";
import { DrayError, messageOf, randomHex } from "@drayage/base";
import { buildRequestSecret, programOf } from "@drayage/controllers";
import { MOVER_SERVICE_ACCOUNT } from "@drayage/install";
import { type Container, type Pod, type Secret, secrets } from "@drayage/kube";
import {
  type BackupResult,
  MOVER_GRACE_SECONDS,
  type MoverOperation,
  type MoverRequest,
  parseMoverEnd,
  parseMoverResult,
  resolveParameters,
} from "@drayage/mover-sdk";
import type { ConformanceResult } from "@drayage/mover-sdk/conformance";
import type { Terminal } from "../terminal.ts";
import { type FaultyStoreOptions, withFaultyStore } from "./faulty-store.ts";
import { describeImage, type ImageAccess, type ImageProgram, registrationOf } from "./image-mover.ts";
import { type ContainerEnd, type PodEnd, runOnePod, stopOnePod } from "./one-pod.ts";

export interface ValidateImageOptions {
  readonly program: ImageProgram;
  readonly access: ImageAccess;
  /** The backup location that the sample is moved to. */
  readonly location: string;
  /** Ours, with the sample in it. */
  readonly ownImage: string;
  readonly limitMs: number;
  readonly onResult: (result: ConformanceResult) => void;
}

export interface ImageReport {
  /** Unknown when the image does not say. */
  readonly mover: DataMover | undefined;
  readonly results: readonly ConformanceResult[];
  /** Whether a volume was moved; nobody here has a sample of anything else. */
  readonly moved: boolean;
}

const CLAIMS = "persistentvolumeclaims";
const VOLUME = "/volume";
const SECRET = "/credentials";
/** A request of a time that has not come. */
const UNKNOWN_SCHEMA = 99;

export async function validateImage(options: ValidateImageOptions, terminal: Terminal): Promise<ImageReport> {
  const results: ConformanceResult[] = [];
  const check = async (name: string, work: () => Promise<void>): Promise<boolean> => {
    let message: string | undefined;
    try {
      await work();
    } catch (error) {
      terminal.signal.throwIfAborted();
      message = messageOf(error);
    }
    const result = { name, ok: message === undefined, ...(message === undefined ? {} : { message }) };
    results.push(result);
    options.onResult(result);
    return message === undefined;
  };
  let mover: DataMover | undefined;
  await check("describes itself", async () => {
    mover = registrationOf(options.program, await describeImage(options.program, options.access, terminal, options.limitMs));
  });
  if (mover === undefined) return { mover, results, moved: false };
  const bench = new ImageBench(options, mover, terminal);
  await check("refuses a parameter that it does not publish", async () => bench.expectClosedSchema());
  await check("refuses a request that it does not know", () => bench.expectRefusal({ schema: UNKNOWN_SCHEMA }));
  const moved = mover.spec.capabilities.kinds.includes(CLAIMS);
  if (moved) {
    await check("brings back what it backed up", async () => bench.restore(await bench.backUp()));
    await check("can be repeated with the same id", async () => bench.restore(await bench.backUp()));
    await check("deletes what it moved, and can do so again", () => bench.deleteTwice());
    await check("fails to restore what is not there", () => bench.expectNothingToRestore());
    await check("fails when there is no such bucket", () => bench.expectRefusal({}, { bucket: "drayage-no-such-bucket" }));
    if (await bench.speaksS3()) {
      await check("fails within its time when the store refuses every connection", () => bench.expectRefusal({}, { url: REFUSING }));
      await check("fails within its time when the store cuts every connection", () => bench.expectFailureWithCuts());
      if (mover.spec.capabilities.cancel === true) await check("stops when it is canceled, while its store does not answer", () => bench.expectStop());
    }
  }
  return { mover, results, moved };
}

/** What is different about the store of a check. */
interface StoreChange {
  readonly bucket?: string;
  readonly url?: string;
}

/** The discard service, which no pod has. */
const REFUSING = "http://127.0.0.1:9";

class ImageBench {
  readonly #options: ValidateImageOptions;
  readonly #mover: DataMover;
  readonly #terminal: Terminal;
  readonly #id: string;
  #last: BackupResult | undefined;

  constructor(options: ValidateImageOptions, mover: DataMover, terminal: Terminal) {
    this.#options = options;
    this.#mover = mover;
    this.#terminal = terminal;
    this.#id = `validate-${randomHex(terminal.random, 6)}`;
  }

  expectClosedSchema(): void {
    try {
      resolveParameters(this.#described, { "no-such-parameter": "x" }, "the suite");
    } catch {
      return;
    }
    throw new Error("its schema lets any name pass, so a misspelt parameter would be ignored");
  }

  async backUp(): Promise<BackupResult> {
    const end = await this.#run("backup", {});
    const text = this.#succeeded(end, "backup").message;
    const result = parseMoverResult(text);
    if (result === undefined) throw new Error(`its backup ended without a result: ${said(text)}`);
    this.#last = result;
    return result;
  }

  async restore({ snapshotId, result }: BackupResult): Promise<void> {
    const end = await this.#run("restore", { moved: { snapshotId, ...(result === undefined ? {} : { result }) } });
    const text = this.#succeeded(end, "restore").message;
    if (parseMoverEnd(text) === undefined) throw new Error(`its restore ended without a result: ${said(text)}`);
    if (end.containers.at(-1)?.exitCode !== 0) throw new Error(`what came back differs: ${end.output.trim().split("\n").slice(0, 5).join("; ")}`);
  }

  async deleteTwice(): Promise<void> {
    for (const moved of [this.#moved(), {}]) {
      const text = this.#succeeded(await this.#run("delete", moved), "delete").message;
      if (parseMoverEnd(text) === undefined) throw new Error(`its delete ended without a result: ${said(text)}`);
    }
  }

  async expectNothingToRestore(): Promise<void> {
    const moved = this.#moved();
    if (!("moved" in moved)) throw new Error("it has moved nothing that could be deleted");
    const { exitCode, message } = moverIn(await this.#run("restore", moved));
    if (exitCode === 0) throw new Error("the data had been deleted, and the restore succeeded all the same");
    if (message.trim() === "") throw new Error(`its restore failed with exit code ${exitCode} and did not say why`);
  }

  /** A backup that cannot go well ends with another code than 0, and a sentence. */
  async expectRefusal(over: Readonly<Record<string, unknown>>, store: StoreChange = {}): Promise<void> {
    const { exitCode, message } = moverIn(await this.#run("backup", over, store));
    if (exitCode === 0) throw new Error("it ended with exit code 0 all the same");
    if (message.trim() === "") throw new Error(`it ended with exit code ${exitCode} and did not say why: the termination message is empty`);
  }

  /** Whether the location can be pointed at another server, as it is an S3 one. */
  async speaksS3(): Promise<boolean> {
    const { access, location } = this.#options;
    const found = await access.client.get(backupStorageLocations, { namespace: access.namespace, name: location }, this.#terminal.signal);
    return found.spec.provider === "aws" || found.spec.provider === "velero.io/aws";
  }

  async expectFailureWithCuts(): Promise<void> {
    await withFaultyStore("cut", this.#faultyStore(), this.#terminal, ({ url }) => this.expectRefusal({}, { url }));
  }

  /** A mover that says that it can be canceled ends by itself between SIGTERM and SIGKILL. */
  async expectStop(): Promise<void> {
    const { access, limitMs, program } = this.#options;
    await withFaultyStore("hold", this.#faultyStore(), this.#terminal, (store) =>
      this.#withSecret("cancel", "backup", {}, { url: store.url }, async (name) => {
        const options = { client: access.client, limitMs, what: `the backup of mover image "${program.image}"` };
        const { wasKilled } = await stopOnePod(this.#pod(name, "backup"), options, () => store.wasAsked(), this.#terminal);
        if (wasKilled)
          throw new Error(`it had not ended ${MOVER_GRACE_SECONDS} s after SIGTERM and was killed; one that cannot stop says so: capabilities.cancel`);
      }),
    );
  }

  #faultyStore(): FaultyStoreOptions {
    const { access, ownImage, limitMs } = this.#options;
    return { ...access, name: `${this.#id}-store`, image: ownImage, limitMs };
  }

  get #described(): { readonly name: string; readonly parameters: Readonly<Record<string, unknown>> } {
    return { name: this.#mover.metadata.name ?? "", parameters: this.#mover.spec.parameters };
  }

  #moved(): Pick<MoverRequest, "moved"> {
    if (this.#last === undefined) return {};
    const { snapshotId, result } = this.#last;
    return { moved: { snapshotId, ...(result === undefined ? {} : { result }) } };
  }

  #succeeded(end: PodEnd, operation: MoverOperation): ContainerEnd {
    const mover = moverIn(end);
    const sample = end.containers.find(({ name, exitCode }) => name === "sample" && exitCode !== 0);
    if (sample !== undefined && operation === "backup") throw new DrayError("INVARIANT", `the sample could not be written: ${end.output}`);
    if (mover.exitCode !== 0) throw new Error(`its ${operation} ended with exit code ${mover.exitCode}: ${said(mover.message)}`);
    return mover;
  }

  #run(operation: MoverOperation, over: Readonly<Record<string, unknown>>, store: StoreChange = {}): Promise<PodEnd> {
    const { access, limitMs, program } = this.#options;
    const what = `the ${operation} of mover image "${program.image}"`;
    return this.#withSecret(operation, operation, over, store, (name) =>
      runOnePod(this.#pod(name, operation), { client: access.client, limitMs, what }, this.#terminal),
    );
  }

  async #withSecret<T>(
    suffix: string,
    operation: MoverOperation,
    over: Readonly<Record<string, unknown>>,
    store: StoreChange,
    work: (name: string) => Promise<T>,
  ): Promise<T> {
    const { access, limitMs } = this.#options;
    const { client, namespace } = access;
    const name = `${this.#id}-${suffix}`;
    await client.create(secrets, await this.#secret(name, operation, over, store), { signal: this.#terminal.signal });
    try {
      return await work(name);
    } finally {
      await client.delete(secrets, { namespace, name }, { signal: AbortSignal.timeout(limitMs) });
    }
  }

  async #secret(name: string, operation: MoverOperation, over: Readonly<Record<string, unknown>>, store: StoreChange): Promise<Secret> {
    const { client, namespace } = this.#options.access;
    const mover = this.#described;
    const secret = await buildRequestSecret(client, {
      name,
      namespace,
      label: "drayage.io/validates",
      target: { kind: "BackupStorageLocation", name: this.#options.location },
      request: {
        operation,
        mover: mover.name,
        id: this.#id,
        source: { apiVersion: "v1", kind: "PersistentVolumeClaim", namespace: "sample", name: "data", volume: { path: VOLUME, mode: "Filesystem" } },
        parameters: resolveParameters(mover, {}, "the sample"),
        about: { apiVersion: "v1", kind: "Pod", namespace, name, uid: this.#id },
        ...over,
      },
    });
    const location = secret.data?.["location.json"];
    if (location === undefined || Object.keys(store).length === 0) return secret;
    const changed = JSON.parse(Buffer.from(location, "base64").toString("utf8")) as {
      spec: { config?: Record<string, string>; objectStorage: { bucket: string } };
    };
    if (store.bucket !== undefined) changed.spec.objectStorage.bucket = store.bucket;
    if (store.url !== undefined) changed.spec.config = { ...changed.spec.config, s3Url: store.url, s3ForcePathStyle: "true" };
    return { ...secret, data: { ...secret.data, "location.json": Buffer.from(JSON.stringify(changed)).toString("base64") } };
  }

  #pod(name: string, operation: MoverOperation): Pod {
    const { program, ownImage, access } = this.#options;
    const { args, env, graceSeconds } = programOf(this.#mover, operation);
    const volume = { name: "volume", mountPath: VOLUME };
    const mover: Container = {
      name: "mover",
      image: program.image,
      args: [...args],
      ...((program.command ?? []).length === 0 ? {} : { command: [...(program.command ?? [])] }),
      env: [{ name: "AWS_SHARED_CREDENTIALS_FILE", value: `${SECRET}/cloud` }, ...env],
      volumeMounts: [volume, { name: "scratch", mountPath: "/scratch" }, { name: "request", mountPath: SECRET, readOnly: true }],
      terminationMessagePath: "/dev/termination-log",
      terminationMessagePolicy: "File",
    };
    const sample = (verb: "write" | "compare"): Container => ({
      name: "sample",
      image: ownImage,
      command: ["/dray"],
      args: ["data-mover", "sample", verb, VOLUME],
      volumeMounts: [volume],
    });
    const containers = operation === "backup" ? [sample("write"), mover] : operation === "restore" ? [mover, sample("compare")] : [mover];
    return {
      metadata: { namespace: access.namespace, name, labels: { "app.kubernetes.io/name": "drayage", "app.kubernetes.io/component": "validate-mover" } },
      spec: {
        restartPolicy: "Never",
        terminationGracePeriodSeconds: graceSeconds,
        // As that of any move: it may tell its progress, and reads no Secret.
        serviceAccountName: MOVER_SERVICE_ACCOUNT,
        initContainers: containers.slice(0, -1),
        containers: containers.slice(-1),
        volumes: [
          { name: "volume", emptyDir: {} },
          { name: "scratch", emptyDir: {} },
          { name: "request", secret: { secretName: name, defaultMode: 0o400 } },
        ],
      },
    };
  }
}

function moverIn({ containers }: PodEnd): ContainerEnd {
  return containers.find(({ name }) => name === "mover") ?? { name: "mover", exitCode: -1, message: "it never ran" };
}

function said(text: string): string {
  return text.trim() === "" ? "it said nothing" : JSON.stringify(text.trim().slice(0, 200));
}
