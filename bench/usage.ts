import { cpus } from 'node:os'
import { getContainerRuntimeClient } from 'testcontainers'

export interface Usage {
  /** Milliseconds of an arbitrary clock. */
  at: number
  /** Milliseconds of CPU time so far: of each service, of the `load`, which is this process, and of the whole `machine`. */
  cpu: Record<string, number>
  /** Bytes of memory that the processes of each service use, without the kernel's file cache. */
  memory: Record<string, number>
}

/** The counters of Docker, the process and the machine. */
export async function readUsage(containers: Record<string, string>): Promise<Usage> {
  const { container } = await getContainerRuntimeClient()
  const read = async ([service, id]: [string, string]) => {
    const statistics = await container.dockerode.getContainer(id).stats({ stream: false, 'one-shot': true })
    const { rss, anon = rss } = statistics.memory_stats.stats as { rss?: number; anon?: number } // cgroup v1, v2
    return { service, cpu: statistics.cpu_stats.cpu_usage.total_usage / 1e6, memory: Number(anon) }
  }
  const services = await Promise.all(Object.entries(containers).map(read))
  const { user, system } = process.cpuUsage()
  return {
    at: performance.now(),
    cpu: {
      ...Object.fromEntries(services.map(({ service, cpu }) => [service, cpu])),
      load: (user + system) / 1000,
      machine: machineTime()
    },
    memory: Object.fromEntries(services.map(({ service, memory }) => [service, memory]))
  }
}

function machineTime() {
  return cpus().reduce((sum, { times: { user, nice, sys, irq } }) => sum + user + nice + sys + irq, 0)
}
