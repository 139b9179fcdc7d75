# make              builds the library with cargo, and the tools
# make install      installs them below PREFIX (/usr/local); DESTDIR goes in front of it for packages
# make install-strip   the same, without the symbols that only debuggers read
# make uninstall    removes what install has installed there
# make check        runs all tests
# make dist         makes an archive of the source, with all crates, that builds without a network: target/dist
#
# Further variables: LIBDIR, INCLUDEDIR, DOCDIR, MANDIR, BINDIR, CMAKEDIR; CARGO and CARGO_FLAGS, for example
# CARGO_FLAGS="--no-default-features" for a library without TLS; SMALL=yes for one that is small rather than fast, which needs
# `rustup component add rust-src`; PROFILE, a profile of cargo's; TARGET, Rust's name of another system to build for, whose
# tools are named by CC, LD, AR, OBJCOPY and STRIP. RELOCATABLE=no makes pkg-config say PREFIX itself rather than find it
# from the place of its file.

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DOCDIR ?= $(PREFIX)/share/doc/eventstream_rpc
MANDIR ?= $(PREFIX)/share/man
CMAKEDIR ?= $(LIBDIR)/cmake/eventstream_rpc
CARGO ?= cargo
PROFILE ?= release
# cargo optimizes a library as a whole (lto) only if it is not to be one for Rust as well, as which `cargo build` makes it too.
# The builds for tests, which need that one, are the same either way.
ifeq ($(PROFILE),dev)
CARGO_BUILD ?= $(CARGO) build
else
CARGO_BUILD ?= $(CARGO) rustc
CRATE_TYPES := --crate-type cdylib,staticlib
endif
INSTALL ?= install
STRIP ?= strip
RELOCATABLE ?= yes

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
MAJOR := $(firstword $(subst ., ,$(VERSION)))
TARGET_DIR := $(abspath $(or $(CARGO_TARGET_DIR),target))
# Rust's standard library is built as well then, without what prints backtraces: it reads debugging information, and would be
# the largest part of a small program. aws-lc leaves its code for AVX-512 out with that macro, which is 0.65 MiB.
ifeq ($(SMALL),yes)
TARGET := $(or $(TARGET),$(shell rustc -vV | sed -n 's/^host: //p'))
SMALL_FLAGS := -Zbuild-std=std,panic_unwind -Zbuild-std-features=optimize_for_size
export RUSTC_BOOTSTRAP := 1
library: export CFLAGS += -DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX
export CARGO_PROFILE_RELEASE_OPT_LEVEL ?= s
endif

# Where cargo puts what it builds: the profile dev is in the folder debug. The target may have a version of glibc behind it.
BUILT := $(TARGET_DIR)/$(if $(TARGET),$(firstword $(subst ., ,$(TARGET)))/)$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# What is made for the installation.
STAGE := $(BUILT)/install

LINK_NAME := libeventstream_rpc.so
SONAME := $(LINK_NAME).$(MAJOR)
REAL_NAME := $(LINK_NAME).$(VERSION)
# What the static library needs of the system, in addition to what compilers link on their own (gcc_s and c).
PRIVATE := -lutil -lrt -lpthread -lm -ldl
# Links of this system do not count: the paths are those of the other.
relative = $(shell realpath -ms --relative-to='$(1)' '$(2)')
# A path below PREFIX in the words of pkg-config.
in_prefix = $(patsubst $(PREFIX:/=)/%,$${prefix}/%,$(1))

HEADERS := $(wildcard include/*.h include/*.hpp)
DOCUMENTS := README.md CHANGELOG.md SECURITY.md LICENSE-MIT LICENSE-APACHE $(wildcard THIRD-PARTY-LICENSES)
TOOLS := $(addprefix $(STAGE)/,$(if $(wildcard examples-c/esrpc_call.c),esrpc-call esrpc-dump esrpc-serve))
MANUALS := $(wildcard docs/man/*.1)
CMAKE_FILES := $(notdir $(basename $(wildcard packaging/*.cmake.in)))

# Where the tools look for the library: from their own place, so that what is installed can be moved. The folders of the system are
# searched anyway.
TOOL_RUN_PATH := $(if $(filter-out /usr,$(PREFIX)),$$$$ORIGIN/$(call relative,$(BINDIR),$(LIBDIR)))

# What is there. With sudo nothing is built: cargo is often the user's own, and the build would leave files of root's.
BUILT_FILES := $(BUILT)/$(LINK_NAME) $(STAGE)/libeventstream_rpc.a $(TOOLS)

.PHONY: all built install install-strip uninstall check dist clean library tools
.DELETE_ON_ERROR:

all: library $(if $(TOOLS),tools)

# The warnings of compilers to come do not keep anyone from installing.
tools: library
	CFLAGS='-O2 $(CFLAGS)' $(MAKE) -C examples-c tools BUILD=$(STAGE) LIBRARY=$(BUILT)/$(LINK_NAME) RPATH='$(TOOL_RUN_PATH)' WERROR=

library:
	$(CARGO_BUILD) --lib $(CRATE_TYPES) --locked --profile $(PROFILE) $(if $(TARGET),--target $(TARGET)) $(SMALL_FLAGS) \
	    $(CARGO_FLAGS)
	mkdir -p $(STAGE)
	LD='$(LD)' OBJCOPY='$(OBJCOPY)' AR='$(AR)' packaging/static_library.sh $(BUILT)/libeventstream_rpc.a $(STAGE)/libeventstream_rpc.a

built:
	@for file in $(BUILT_FILES); do test -e $$file || { echo "$$file is not there: run make without sudo first" >&2; exit 1; }; done

# The files are made each time, since they depend on variables.
install: $(if $(SUDO_USER),built,all)
	rm -f $(STAGE)/*.pc $(STAGE)/*.cmake
	sed -e 's|@prefix@|$(if $(filter no,$(RELOCATABLE)),$(PREFIX),$${pcfiledir}/$(call relative,$(LIBDIR)/pkgconfig,$(PREFIX)))|' \
	    -e 's|@libdir@|$(call in_prefix,$(LIBDIR))|' -e 's|@includedir@|$(call in_prefix,$(INCLUDEDIR))|' \
	    -e 's|@version@|$(VERSION)|' -e 's|@private@|$(PRIVATE)|' \
	    packaging/eventstream_rpc.pc.in >$(STAGE)/eventstream_rpc.pc
	sed -e 's|@includedir_from_cmake@|$(call relative,$(CMAKEDIR),$(INCLUDEDIR))|' \
	    -e 's|@libdir_from_cmake@|$(call relative,$(CMAKEDIR),$(LIBDIR))|' -e 's|@real_name@|$(REAL_NAME)|' -e 's|@soname@|$(SONAME)|' \
	    -e 's|@private_list@|$(subst $(eval) ,;,$(PRIVATE))|' \
	    packaging/eventstream_rpc-config.cmake.in >$(STAGE)/eventstream_rpc-config.cmake
	sed -e 's|@version@|$(VERSION)|' -e 's|@major@|$(MAJOR)|' \
	    packaging/eventstream_rpc-config-version.cmake.in >$(STAGE)/eventstream_rpc-config-version.cmake
	$(INSTALL) -d '$(DESTDIR)$(LIBDIR)/pkgconfig' '$(DESTDIR)$(CMAKEDIR)' '$(DESTDIR)$(INCLUDEDIR)' \
	    '$(DESTDIR)$(DOCDIR)'
	$(INSTALL) -m 755 $(BUILT)/$(LINK_NAME) '$(DESTDIR)$(LIBDIR)/$(REAL_NAME)'
	ln -sf $(REAL_NAME) '$(DESTDIR)$(LIBDIR)/$(SONAME)'
	ln -sf $(SONAME) '$(DESTDIR)$(LIBDIR)/$(LINK_NAME)'
	$(INSTALL) -m 644 $(STAGE)/libeventstream_rpc.a '$(DESTDIR)$(LIBDIR)'
	$(INSTALL) -m 644 $(STAGE)/eventstream_rpc.pc '$(DESTDIR)$(LIBDIR)/pkgconfig'
	$(INSTALL) -m 644 $(STAGE)/*.cmake '$(DESTDIR)$(CMAKEDIR)'
	$(INSTALL) -m 644 $(HEADERS) '$(DESTDIR)$(INCLUDEDIR)'
	$(INSTALL) -m 644 $(DOCUMENTS) '$(DESTDIR)$(DOCDIR)'
ifneq ($(TOOLS),)
	$(INSTALL) -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(MANDIR)/man1'
	$(INSTALL) -m 755 $(TOOLS) '$(DESTDIR)$(BINDIR)'
	$(INSTALL) -m 644 $(MANUALS) '$(DESTDIR)$(MANDIR)/man1'
endif

install-strip: install
	$(STRIP) --strip-unneeded '$(DESTDIR)$(LIBDIR)/$(REAL_NAME)'
	$(STRIP) --strip-debug '$(DESTDIR)$(LIBDIR)/libeventstream_rpc.a'
ifneq ($(TOOLS),)
	$(STRIP) $(addprefix '$(DESTDIR)$(BINDIR)'/,$(notdir $(TOOLS)))
endif

uninstall:
	rm -f $(patsubst %,'$(DESTDIR)$(LIBDIR)/%',$(LINK_NAME) $(SONAME) $(REAL_NAME) libeventstream_rpc.a \
	    pkgconfig/eventstream_rpc.pc)
	rm -f $(patsubst %,'$(DESTDIR)$(INCLUDEDIR)/%',$(notdir $(HEADERS)))
	rm -f $(patsubst %,'$(DESTDIR)$(BINDIR)/%',$(notdir $(TOOLS)))
	rm -f $(patsubst %,'$(DESTDIR)$(MANDIR)/man1/%',$(notdir $(MANUALS)))
	rm -f $(patsubst %,'$(DESTDIR)$(CMAKEDIR)/%',$(CMAKE_FILES)) $(patsubst %,'$(DESTDIR)$(DOCDIR)/%',$(notdir $(DOCUMENTS)))
	rmdir '$(DESTDIR)$(CMAKEDIR)' '$(DESTDIR)$(DOCDIR)' 2>/dev/null || true

check:
	$(CARGO) test --locked $(CARGO_FLAGS)

dist:
	packaging/dist.sh

clean:
	$(CARGO) clean
	$(MAKE) -C examples-c clean
