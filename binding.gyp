# Compiles native/ (the CPU addon) and nothing else. The kernels are compiled once for each instruction
# set, into namespaces of their own; native/cpu_dispatch.cpp chooses at run time.
{
  'variables': {
    'kernel_sources': ['native/cpu_backend.cpp', '<!@(node scripts/sources.mjs native/ops)'],
    # What every machine of the architecture has.
    'conditions': [
      ['target_arch=="x64"', { 'baseline': 'sse2' }],
      ['target_arch=="arm64"', { 'baseline': 'neon' }],
      ['target_arch!="x64" and target_arch!="arm64"', { 'baseline': 'baseline' }],
    ],
  },
  'target_defaults': {
    'cflags!': ['-fno-exceptions'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': [
      '-std=c++17', '-O3', '-fPIC', '-fexceptions', '-frtti', '-fno-math-errno', '-fno-trapping-math',
      '-ffp-contract=fast', '-Wall', '-Wextra', '-Wno-unused-parameter', '-Wno-psabi', '-fvisibility=hidden',
    ],
    'include_dirs': ['native'],
    'xcode_settings': {
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
      'OTHER_CFLAGS': ['-O3', '-fno-math-errno', '-fno-trapping-math', '-ffp-contract=fast'],
      'GCC_ENABLE_CPP_RTTI': 'YES',
      'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
      'MACOSX_DEPLOYMENT_TARGET': '11.0',
    },
    # The vectors of native/simd/vec.h are an extension of GCC and Clang: on Windows Visual Studio's Clang
    # compiles them, by the rules and with the libraries of MSVC.
    'msbuild_toolset': 'ClangCL',
    'msvs_settings': {
      'VCCLCompilerTool': {
        'ExceptionHandling': 1,
        'RuntimeTypeInfo': 'true',
        'Optimization': 2,
        'AdditionalOptions': [
          '/std:c++17', '/clang:-O3', '/clang:-fno-math-errno', '/clang:-fno-trapping-math',
          '/clang:-ffp-contract=fast',
        ],
      },
    },
  },
  'targets': [
    {
      'target_name': 'partlens',
      'sources': [
        '<!@(node scripts/sources.mjs native)',
        '<!@(node scripts/sources.mjs native/simd)',
      ],
      'sources!': ['native/cpu_backend.cpp'],
      'dependencies': ['kernels_baseline'],
      'include_dirs': ['<!(node -p "require(\'node-addon-api\').include_dir")'],
      'defines': ['NAPI_VERSION=8', 'NODE_ADDON_API_CPP_EXCEPTIONS'],
      'conditions': [
        ['target_arch=="x64"', { 'dependencies': ['kernels_avx512', 'kernels_avx2'] }],
        ['OS=="linux"', {
          'ldflags': ['-static-libstdc++', '-Wl,--exclude-libs,ALL,--gc-sections,-z,now'],
          'libraries': ['-ldl', '-lpthread'],
        }],
      ],
    },
    {
      'target_name': 'kernels_baseline',
      'type': 'static_library',
      'sources': ['<@(kernel_sources)'],
      'defines': ['PL_ISA=<(baseline)', 'PL_VL=4'],
    },
  ],
  'conditions': [
    ['target_arch=="x64"', {
      'targets': [
        {
          'target_name': 'kernels_avx512',
          'type': 'static_library',
          'sources': ['<@(kernel_sources)'],
          'defines': ['PL_ISA=avx512', 'PL_VL=16'],
          'cflags_cc': [
            '-mavx512f', '-mavx512vl', '-mavx512dq', '-mavx512bw', '-mavx2', '-mfma',
            '-mprefer-vector-width=512',
          ],
          'xcode_settings': {
            'OTHER_CPLUSPLUSFLAGS': [
              '-mavx512f', '-mavx512vl', '-mavx512dq', '-mavx512bw', '-mavx2', '-mfma',
            ],
          },
          'msvs_settings': {'VCCLCompilerTool': {'AdditionalOptions': ['/arch:AVX512']}},
        },
        {
          'target_name': 'kernels_avx2',
          'type': 'static_library',
          'sources': ['<@(kernel_sources)'],
          'defines': ['PL_ISA=avx2', 'PL_VL=8'],
          'cflags_cc': ['-mavx2', '-mfma'],
          'xcode_settings': {'OTHER_CPLUSPLUSFLAGS': ['-mavx2', '-mfma']},
          'msvs_settings': {'VCCLCompilerTool': {'AdditionalOptions': ['/arch:AVX2']}},
        },
      ],
    }],
  ],
}
