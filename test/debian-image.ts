import { GenericContainer } from 'testcontainers'
import { connect } from '../src/database.ts'

const IMAGE = 'relay-tracker-test-debian'
/** An arbitrary number. */
const BUILD_LOCK = 1

/** The image of test/debian. It is built by the first test that needs it, and kept for the next run. */
export async function debianImage(): Promise<GenericContainer> {
  const sql = connect(process.env.TEST_DATABASE_URL as string, { max: 1, statementTimeout: 0, connect_timeout: 30 })
  try {
    return await sql.begin(async (transaction) => {
      // Two at once would each do all of it.
      await transaction`select pg_advisory_xact_lock(${BUILD_LOCK})`
      return GenericContainer.fromDockerfile('test/debian').build(IMAGE, { deleteOnExit: false })
    })
  } finally {
    await sql.end()
  }
}
