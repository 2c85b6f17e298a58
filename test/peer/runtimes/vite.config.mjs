// For a program that is shipped as one file, with its dependencies in it.
export default {
  ssr: { noExternal: true },
  build: {
    ssr: 'program.mjs',
    outDir: '../bundles/vite',
    target: 'node22',
    rolldownOptions: { output: { entryFileNames: '[name].mjs' } }
  }
}
