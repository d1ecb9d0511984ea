import { DrayError } from "@drayage/base";

/** Third octets that are used. */
const THIRDS = 255;

/**
 * Addresses of the pods of one node, out of two octets of 127/8: every one of them is this machine, so a program that listens on all addresses is reached through its
 * pod's own. Pods share the machine's ports: two that listen on the same port of all addresses collide, two that listen on their own address do not. That holds for the pods of other
 * clusters on the machine as well, of which nobody here knows: each node begins somewhere else.
 */
export class PodAddresses {
  readonly #network: string;
  readonly #firstThird: number;
  readonly #byPod = new Map<string, string>();
  readonly #used = new Set<string>();

  /**
   * @param network - two octets, such as `127.64`
   * @param firstThird - the third octet of the first address, below 255; those after it follow, and then those before it
   */
  constructor(network: string, firstThird = 0) {
    this.#network = network;
    this.#firstThird = firstThird;
  }

  /** Notes an address that a pod already has. */
  keep(podUid: string, address: string | undefined): void {
    if (address === undefined || !address.startsWith(`${this.#network}.`) || this.#used.has(address)) return;
    this.#byPod.set(podUid, address);
    this.#used.add(address);
  }

  /** The pod's address; the same each time until it is given back. */
  take(podUid: string): string {
    const known = this.#byPod.get(podUid);
    if (known !== undefined) return known;
    for (let i = 0; i < THIRDS; i++) {
      const third = (this.#firstThird + i) % THIRDS;
      for (let fourth = 1; fourth < 255; fourth++) {
        const address = `${this.#network}.${third}.${fourth}`;
        if (this.#used.has(address)) continue;
        this.keep(podUid, address);
        return address;
      }
    }
    throw new DrayError("NOT_SUPPORTED", `Cannot give pod "${podUid}" an address: all of ${this.#network}.0.0/16 are in use`);
  }

  give(podUid: string): void {
    const address = this.#byPod.get(podUid);
    if (address === undefined) return;
    this.#byPod.delete(podUid);
    this.#used.delete(address);
  }
}
