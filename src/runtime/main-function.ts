import { accessSync, constants, existsSync } from 'node:fs'

/** Runs a process's main function with the settings of `.env`. An error ends the process with one line on stderr and exit code 1. */
export async function run(main: () => Promise<unknown>) {
  try {
    if (existsSync('.env')) {
      accessSync('.env', constants.R_OK) // loadEnvFile would say that it does not exist
      process.loadEnvFile()
    }
    await main()
  } catch (error) {
    console.error(`relay-tracker: ${(error as Error).message}`)
    process.exit(1)
  }
}
