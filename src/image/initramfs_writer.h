#pragma once

#include <string>

#include "base/error.h"
#include "image/image_services.h"
#include "image/pull.h"
#include "image/writers/initramfs.h"

namespace lambdo::image {

/// What the kvm engine starts guests from: as it is, because packing it would only move work into every boot.
InitramfsRequest store_initramfs();

/// Writes the image as an initramfs to `path`, which it is only once it is whole. The store keeps nothing of
/// it. All outlive the call.
Task<Result<>> write_image_initramfs(ImageServices& services, const LocalImage& image,
                                     const InitramfsOptions& options, std::string path, CancelToken token);

}  // namespace lambdo::image
