import CLinux

/// Memory straight from the kernel: zeroed, and free of charge until it is touched.
enum Reserved {
  static func memory<Element>(of type: Element.Type, count: Int) throws(ProxyError) -> UnsafeMutablePointer<Element> {
    guard let memory = clinux_proxy_reserve(count * MemoryLayout<Element>.stride) else {
      throw .outOf("memory", code: ENOMEM)
    }
    return memory.bindMemory(to: type, capacity: count)
  }

  static func release<Element>(_ memory: UnsafeMutablePointer<Element>, count: Int) {
    clinux_proxy_unreserve(memory, count * MemoryLayout<Element>.stride)
  }
}
