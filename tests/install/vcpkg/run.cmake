# Runs the port's script as vcpkg would, with its functions replaced: -DPORT_DIR= its folder, -DSOURCE= the library's, -DPREFIX= and
# -DBUILD= new folders, -DLINKAGE=static or dynamic, -DFEATURES=, -DARGUMENTS= further arguments of make.
cmake_minimum_required(VERSION 3.18)
set(PORT eventstream-rpc)
set(TARGET_TRIPLET here)
set(CURRENT_PACKAGES_DIR "${PREFIX}")
set(CURRENT_BUILDTREES_DIR "${BUILD}")
set(VCPKG_LIBRARY_LINKAGE "${LINKAGE}")

function(vcpkg_download_distfile out_path)
  set(${out_path} archive PARENT_SCOPE)
endfunction()

function(vcpkg_extract_source_archive out_path)
  set(${out_path} "${SOURCE}" PARENT_SCOPE)
endfunction()

function(vcpkg_execute_required_process)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "WORKING_DIRECTORY;LOGNAME" "COMMAND")
  execute_process(COMMAND ${arg_COMMAND} ${ARGUMENTS} WORKING_DIRECTORY "${arg_WORKING_DIRECTORY}"
    COMMAND_ERROR_IS_FATAL ANY)
endfunction()

function(vcpkg_fixup_pkgconfig)
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  foreach(licence IN LISTS arg_FILE_LIST)
    file(READ "${licence}" text)
    file(APPEND "${CURRENT_PACKAGES_DIR}/share/${PORT}/copyright" "${text}")
  endforeach()
endfunction()

include("${PORT_DIR}/portfile.cmake")
