import type { NetworkInterfaceInfo } from 'node:os'

/**
 * Names of the bridges of Docker and Podman; Kubernetes; libvirt, LXC, LXD, Incus, Multipass and Waydroid; macOS's virtual machines,
 * Parallels, VMware and VirtualBox; Hyper-V's internal switches and WSL. A Hyper-V switch that the owner named is the machine's way to its
 * network, and so are the names that interfaces have within containers and network namespaces, such as `eth0` and `veth1`.
 */
const NAMES = [
  /^(docker\d+|docker_gwbridge|br-[0-9a-f]{12}|podman\d+|virbr\d+|(lxc|lxd|incus|mpqemu)br\d+|waydroid\d+)$/,
  /^(cni|flannel|cali|cilium_|kube-|weave|tunl\d|vxlan\.calico|antrea-gw|ovn-k8s)/,
  /^(bridge1\d\d|vnic\d+|vmnet\d+|vboxnet\d+)$/,
  /^(VMware Network Adapter |VirtualBox Host-Only |vEthernet \((Default Switch|nat|DockerNAT|WSL.*|HNS .*)\))/
]
/** The host's ends of VMware's and VirtualBox's networks, whatever they are called. The guests' have others. */
const HARDWARE = /^(00:50:56:c0:00|0a:00:27:00:00):/i

/**
 * Whether an interface leads only to containers and virtual machines on this machine. Nobody else can reach it, and many machines have
 * the same address there.
 */
export function isVirtualBridge(name: string, { mac }: Pick<NetworkInterfaceInfo, 'mac'>): boolean {
  return NAMES.some((pattern) => pattern.test(name)) || HARDWARE.test(mac)
}
