{
  "variables": {
    "openssl_fips": ""
  },
  "target_defaults": {
    "cflags_cc!": ["-std=gnu++17"],
    "cflags_cc": ["-std=gnu++20", "-O3", "-g1", "-Wall", "-Wextra", "-Wno-unused-parameter",
                  "-fvisibility=hidden", "-fno-strict-aliasing"]
  },
  "targets": [
    {
      "target_name": "moontide_core",
      "type": "static_library",
      "sources": ["<!@(ls src/*.cc)"],
      "include_dirs": ["src"],
      "cflags": ["-fPIC"]
    },
    {
      "target_name": "moontide",
      "dependencies": ["moontide_core"],
      "sources": ["<!@(ls binding/*.cc)"],
      "include_dirs": ["src", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS"],
      "libraries": ["-lpthread", "-ldl"],
      "ldflags": ["-static-libstdc++", "-static-libgcc"]
    },
    {
      "target_name": "baseline",
      "type": "executable",
      "sources": ["bench/baseline.c"],
      "cflags": ["-O2"]
    },
    {
      "target_name": "fabric-bare",
      "variables": {
        "headers": "<!(test -e /usr/include/rdma/fabric.h && echo 1 || echo 0)"
      },
      "conditions": [
        ["headers==1", {
          "type": "executable",
          "sources": ["bench/fabric-bare.c"],
          "cflags": ["-O2"],
          "libraries": ["-lfabric"]
        }, { "type": "none" }]
      ]
    }
  ]
}
