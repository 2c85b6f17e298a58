import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { GenericContainer } from 'testcontainers'

/**
 * Builds an image and keeps it, so that only changes are built next time. BuildKit does the work once when several tests need it. testcontainers
 * would fall back to the previous image when the build fails.
 *
 * @param context the folder that the build may read
 * @param variables of the Dockerfile, its ARGs
 */
export async function buildImage(
  name: string,
  context: string,
  dockerfile = `${context}/Dockerfile`,
  variables: Record<string, string> = {}
): Promise<GenericContainer> {
  const options = Object.entries(variables).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`])
  const args = ['build', '--progress=plain', '--tag', name, '--file', dockerfile, ...options, context]
  await promisify(execFile)('docker', args, { maxBuffer: Number.POSITIVE_INFINITY })
  return new GenericContainer(name)
}
