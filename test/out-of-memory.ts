/** Expressions by which a Node.js process meets a limit of its memory: V8's of its heap, or its container's. */
export const EXHAUST_HEAP = 'for (const all = []; ; ) all.push(Array(1e5).fill(all.length))'
export const EXHAUST_CONTAINER = 'for (const all = []; ; ) all.push(Buffer.alloc(2 ** 20, 1))'

/** An expression that has no end. */
export const BLOCK = 'for (;;);'
