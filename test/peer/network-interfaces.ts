import type { Interfaces } from '../../peer/src/presence/listen-addresses.ts'

// What `os.networkInterfaces()` has on real machines: name, MAC address, and CIDR addresses.

type Row = [name: string, mac: string, ...cidrs: string[]]

const LO: Row = ['lo', '00:00:00:00:00:00', '127.0.0.1/8', '::1/128']

export function interfaces(...rows: Row[]): Interfaces {
  return Object.fromEntries(
    rows.map(([name, mac, ...cidrs]) => [
      name,
      cidrs.map((cidr) => {
        const address = cidr.split('/')[0] as string
        const family = address.includes(':') ? 'IPv6' : 'IPv4'
        return { address, netmask: '', family, mac, internal: /^(127|::1)/.test(address), cidr, scopeid: 0 } as never
      })
    ])
  )
}

/** Machines, and which of their addresses others reach. */
export const MACHINES: Record<string, { rows: Row[]; announced: string[] }> = {
  'Linux with Docker, Podman, libvirt, LXD and VPNs': {
    rows: [
      LO,
      ['enp3s0', '3c:7c:3f:11:22:33', '192.168.1.20/24', '2003:e5:1::20/64', 'fe80::3e7c/64'],
      ['docker0', '02:42:8e:ab:cd:ef', '172.17.0.1/16', 'fe80::42/64'],
      ['br-3f2a9c0d1e4b', '02:42:0a:0b:0c:0d', '172.18.0.1/16', 'fd00:18::1/64'],
      ['docker_gwbridge', '02:42:0a:0b:0c:0e', '172.19.0.1/16'],
      ['veth1a2b3c4', '6e:11:22:33:44:55', 'fe80::6c11/64'],
      ['podman1', '1a:2b:3c:4d:5e:6f', '10.89.0.1/24'],
      ['virbr0', '52:54:00:aa:bb:cc', '192.168.122.1/24'],
      ['lxdbr0', '00:16:3e:aa:bb:cc', '10.207.114.1/24', 'fd42:1::1/64'],
      ['tailscale0', '00:00:00:00:00:00', '100.101.102.103/32', 'fd7a:115c:a1e0::1/128'],
      ['wg0', '00:00:00:00:00:00', '10.8.0.2/24']
    ],
    announced: ['2003:e5:1::20', '192.168.1.20', 'fd7a:115c:a1e0::1', '100.101.102.103', '10.8.0.2']
  },
  'a Kubernetes node': {
    rows: [
      ['ens5', '02:01:02:03:04:05', '10.0.1.7/24'],
      ['cni0', 'aa:bb:cc:dd:ee:ff', '10.244.0.1/24'],
      ['flannel.1', 'aa:bb:cc:dd:ee:00', '10.244.0.0/32'],
      ['vxlan.calico', '66:aa:bb:cc:dd:ee', '192.168.84.128/32'],
      ['cilium_host', '66:aa:bb:cc:dd:ef', '10.0.0.65/32'],
      ['kube-ipvs0', '66:aa:bb:cc:dd:e0', '10.96.0.1/32'],
      ['nodelocaldns', '66:aa:bb:cc:dd:e1', '169.254.20.10/32']
    ],
    announced: ['10.0.1.7']
  },
  'a container of Docker': { rows: [LO, ['eth0', '02:42:ac:11:00:02', '172.17.0.2/16']], announced: ['172.17.0.2'] },
  'a container of rootless Podman': {
    rows: [LO, ['tap0', '0a:1b:2c:3d:4e:5f', '10.0.2.100/24']],
    announced: ['10.0.2.100']
  },
  'a pod': { rows: [LO, ['eth0', 'aa:bb:cc:00:11:22', '10.244.1.17/24']], announced: ['10.244.1.17'] },
  'a network namespace': { rows: [LO, ['veth1', '4a:5b:6c:7d:8e:9f', '10.1.1.2/24']], announced: ['10.1.1.2'] },
  'a guest of VirtualBox': { rows: [['enp0s3', '08:00:27:aa:bb:cc', '10.0.2.15/24']], announced: ['10.0.2.15'] },
  'a guest of VMware': { rows: [['ens33', '00:50:56:3a:bb:cc', '192.168.29.130/24']], announced: ['192.168.29.130'] },
  'a host of virtual machines with a bridge to its network': {
    rows: [
      ['vmbr0', '3c:7c:3f:11:22:33', '192.168.1.5/24'],
      ['br0', '3c:7c:3f:11:22:34', '192.168.2.5/24']
    ],
    announced: ['192.168.1.5', '192.168.2.5']
  },
  'macOS with Parallels, VMware and a proxy': {
    rows: [
      ['lo0', '00:00:00:00:00:00', '127.0.0.1/8', '::1/128', 'fe80::1/64'],
      ['en0', '3c:22:fb:11:22:33', 'fe80::c6b/64', '10.0.0.14/24', '2601:646:1::14/64'],
      ['awdl0', '1e:22:33:44:55:66', 'fe80::1c22/64'],
      ['bridge0', '36:22:33:44:55:66', '192.168.50.1/24'],
      ['bridge100', '3e:22:fb:aa:bb:64', '192.168.64.1/24', 'fd9f:1::1/64'],
      ['vmnet8', '00:50:56:c0:00:08', '172.16.140.1/24'],
      ['vnic0', '00:1c:42:00:00:08', '10.211.55.2/24'],
      ['utun3', '00:00:00:00:00:00', 'fe80::ce81/64'],
      ['utun6', '00:00:00:00:00:00', '198.18.0.1/16'],
      ['en5', '3c:22:fb:11:22:34', '192.0.0.2/29']
    ],
    announced: ['2601:646:1::14', '10.0.0.14', '192.168.50.1']
  },
  'Windows with Hyper-V, WSL, VMware and VirtualBox': {
    rows: [
      ['vEthernet (Ethernet)', '3c:7c:3f:11:22:33', '192.168.178.30/24', '2a02:8108:1::30/64'],
      ['vEthernet (National Office)', '00:15:5d:00:00:01', '10.20.0.4/16'],
      ['vEthernet (Default Switch)', '00:15:5d:11:22:33', '172.29.16.1/20', 'fe80::9d/64'],
      ['vEthernet (WSL (Hyper-V firewall))', '00:15:5d:44:55:66', '172.24.0.1/20'],
      ['vEthernet (nat)', '00:15:5d:44:55:67', '172.30.48.1/20'],
      ['VMware Network Adapter VMnet8', '00:50:56:c0:00:08', '192.168.244.1/24'],
      ['Ethernet 3', '0a:00:27:00:00:12', '192.168.56.1/24'],
      ['Teredo Tunneling Pseudo-Interface', '00:00:00:00:00:00', '2001:0:c38c:c38c:1::1/64'],
      ['Loopback Pseudo-Interface 1', '00:00:00:00:00:00', '::1/128', '127.0.0.1/8']
    ],
    announced: ['2a02:8108:1::30', '192.168.178.30', '10.20.0.4']
  },
  WSL: {
    rows: [LO, ['eth0', '00:15:5d:77:88:99', '172.24.5.6/20'], ['docker0', '02:42:00:11:22:33', '172.17.0.1/16']],
    announced: ['172.24.5.6']
  }
}
