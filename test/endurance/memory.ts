// Loaded into the API's process (node --expose-gc --import): for every line on stdin it prints, on stderr, what memory is left
// after a full collection.
process.stdin.on('data', () => {
  globalThis.gc?.()
  console.error(JSON.stringify(process.memoryUsage()))
})
