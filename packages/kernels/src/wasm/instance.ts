/** What is used of WebAssembly: the types of its global are part of those of browsers, which only the dashboard may see. */
interface WebAssemblyGlobal {
  validate(code: Uint8Array<ArrayBuffer>): boolean;
  readonly Memory: new (limits: { readonly initial: number; readonly maximum: number; readonly shared: true }) => { readonly buffer: SharedArrayBuffer };
  readonly Module: new (code: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
}

const wasm = (globalThis as unknown as { readonly WebAssembly: WebAssemblyGlobal }).WebAssembly;
export const WASM_PAGE_BYTES = 65_536;

/** Memory that modules were given out, by what JavaScript sees of it. */
const arenas = new WeakMap<ArrayBufferLike, object>();

/** Shared memory that begins on a page and that modules can be given as their arena. */
export function createArena(pages: number): SharedArrayBuffer {
  const memory = new wasm.Memory({ initial: pages, maximum: pages, shared: true });
  arenas.set(memory.buffer, memory);
  return memory.buffer;
}

export function isArena(buffer: ArrayBufferLike): boolean {
  return arenas.has(buffer);
}

/** Whether this machine's WebAssembly has what a module needs, such as vectors. */
export function canRun(code: Uint8Array<ArrayBuffer>): boolean {
  return wasm.validate(code);
}

/** A module's own memory, and its functions as T has them. `arena` is what `createArena` gave, for a module that has one. */
export function instanceOf<T extends object>(
  code: Uint8Array<ArrayBuffer>,
  arena?: ArrayBufferLike,
): T & { readonly memory: { readonly buffer: ArrayBuffer } } {
  const imports = arena === undefined ? {} : { arena: { memory: arenas.get(arena) } };
  return new wasm.Instance(new wasm.Module(code), imports).exports as T & { readonly memory: { readonly buffer: ArrayBuffer } };
}
